"""Serves one request online: a plain function decides, then the endpoint acts.

It is a bare ASGI callable outside Starlette's router, because client benchmarks use this path.
"""

import asyncio
import time
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from promptmill.simulator.answers.engine import Answer, Call, Endpoint, answer, is_hanging, read_call
from promptmill.simulator.errors import ApiError, Headers
from promptmill.simulator.http.connection import abort, parse_body, read_body, send_response
from promptmill.simulator.limits.model_limits import ModelLimits
from promptmill.simulator.online.faults import (
    LOST,
    UNANSWERED,
    Fault,
    choose_fault,
    fault_error,
    has_faults,
    latency_seconds,
    spoil,
)
from promptmill.simulator.state.world import World
from promptmill.simulator.wire import JsonObject, body_digest, encode


@dataclass(frozen=True, slots=True)
class Decision:
    """What to send, when, and what goes wrong on the way."""

    status: int
    body: bytes
    headers: Headers
    latency_seconds: float = 0.0
    fault: Fault | None = None


class InferenceEndpoint:
    """The ASGI application of one endpoint."""

    def __init__(self, world: World, endpoint: Endpoint) -> None:
        self._world = world
        self._endpoint: Endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, decide, wait, answer."""
        ledger = self._world.ledger
        ledger.enter()
        try:
            raw = await read_body(receive)
            decision = _decide(self._world, self._endpoint, _authorization(scope), raw)
            if decision.latency_seconds > 0:
                await asyncio.sleep(decision.latency_seconds)
            await self._deliver(decision, scope, receive, send)
        finally:
            ledger.leave()

    async def _deliver(self, decision: Decision, scope: Scope, receive: Receive, send: Send) -> None:
        options = self._world.options
        if decision.fault == "hang":
            await _wait_for_disconnect(receive, options.hang_seconds)
        if decision.fault in UNANSWERED:
            await abort(scope)
            return
        stall = options.slow_body_seconds if decision.fault == "slow_body" else 0.0
        await send_response(send, decision.status, decision.body, decision.headers, stall_seconds=stall)


def _decide(world: World, endpoint: Endpoint, authorization: str, raw: bytes) -> Decision:
    """The outcome of one request; also enters it in the books."""
    limits: ModelLimits | None = None
    request_id = b"req_%032x" % world.next_serial()
    try:
        world.authorize(authorization)
        world.require_quota()
        body = parse_body(raw)
        if isinstance(model := body.get("model"), str):
            limits = world.limits_of(model)
        decision = _decide_body(world, endpoint, body, limits)
    except ApiError as error:
        world.ledger.counters[f"status_{error.status}"] += 1
        decision = Decision(error.status, error.body(), error.headers())
    headers = decision.headers
    headers.append((b"x-request-id", request_id))
    headers.append((b"openai-processing-ms", b"%d" % (decision.latency_seconds * 1000)))
    if limits is not None and world.options.rate_headers:
        headers += limits.headers(time.monotonic())
    return decision


def _decide_body(world: World, endpoint: Endpoint, body: JsonObject, limits: ModelLimits | None) -> Decision:
    options, tokenizer = world.options, world.tokenizer
    try:
        call = read_call(endpoint, body, options, tokenizer)
    except ApiError:
        if limits is not None:
            limits.count_failure(time.monotonic(), options)
        raise
    limits = limits or world.limits_of(call.model)
    digest = body_digest(body)
    is_faulty = has_faults(options)
    fault = choose_fault(options, digest, world.attempts[digest] + 1) if is_faulty else None
    outcome = _outcome(world, call, digest, fault)
    _admit(world, call, limits, outcome)
    if is_faulty:  # refused requests don't count as attempts: they depend on time, and faults must not
        world.attempts[digest] += 1
    if fault is not None:
        world.ledger.counters[f"fault_{fault}"] += 1
    if isinstance(outcome, ApiError):
        raise outcome
    return _bill(world, call, digest, "hang" if is_hanging(call) else fault, outcome)


def _outcome(world: World, call: Call, digest: bytes, fault: Fault | None) -> Answer | ApiError:
    error = fault_error(fault, call.model, world.options)
    if error is not None:
        return error
    try:
        return answer(call, digest, world.options, world.tokenizer, world.cached_tokens(call))
    except ApiError as poisoned:
        return poisoned


def _admit(world: World, call: Call, limits: ModelLimits, outcome: Answer | ApiError) -> None:
    """Charge the limits. Raises: ApiError 429."""
    options, ledger = world.options, world.ledger
    is_error = isinstance(outcome, ApiError)
    charge = call.requested_tokens
    if options.token_accounting == "actual":
        charge = 0 if is_error else outcome.usage.total_tokens
    try:
        limits.admit(time.monotonic(), call.model, charge, options)
    except ApiError:
        ledger.counters["rate_limit_429"] += 1
        raise
    ledger.admit(charge)
    if is_error and not options.failed_requests_count:
        limits.return_request(time.monotonic())


def _bill(world: World, call: Call, digest: bytes, fault: Fault | None, made: Answer) -> Decision:
    """The decision for an answer; it is billed, unless a fault loses it that isn't billed."""
    options = world.options
    payload = encode(made.payload)
    if fault not in LOST or options.fault_bills:
        world.ledger.bill(made.tier, call.model, made.usage, digest if options.track_bodies else None)
    if fault not in UNANSWERED:
        world.ledger.counters["status_200"] += 1
    if fault == "garbage":
        payload = spoil(payload, digest)
    return Decision(200, payload, [], latency_seconds(options, digest), fault)


def _authorization(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return str(value, "latin-1")
    return ""


async def _wait_for_disconnect(receive: Receive, seconds: float) -> None:
    """Wait for the client to hang up, or for the time to pass."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return
