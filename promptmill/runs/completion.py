"""Rows' requests → their results: one request a row, or many rows' inputs in one request of embeddings."""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal

from promptmill.limits.pricing import stored_usd
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.provider.attempt import Call, Complaint, Outcome
from promptmill.provider.client import Client
from promptmill.provider.response_body import MAX_INPUT_TOKENS, MAX_INPUTS, Answer
from promptmill.records import Completion, Failure, FailureKind, Request, Result, Usage
from promptmill.stop import Slot

Validate = Callable[[str], str | None]  # what is wrong with a text, or None


def judge_text(answer: Answer, validate: Validate | None) -> Complaint | None:
    """What is wrong with an answer's text, or None."""
    if answer.refusal is not None:
        return Complaint("refusal", answer.refusal, is_worth_another=False)
    if answer.finish_reason == "length":
        return Complaint("truncated", "the answer was cut at the output limit", is_worth_another=False)
    if answer.finish_reason == "content_filter":
        return Complaint("content_filter", "the provider's filter cut the answer", is_worth_another=False)
    if answer.text is None:
        return Complaint("invalid_response", "the answer has no text", is_worth_another=True)
    wrong = validate(answer.text) if validate is not None else None
    return None if wrong is None else Complaint("invalid_response", wrong, is_worth_another=True)


def refused_text(answer: Answer) -> str | None:
    """What to keep of an answer that won't do: its text, or the words of its refusal."""
    return answer.text if answer.text else answer.refusal


async def complete_request(client: Client, request: Request, slot: Slot, validate: Validate | None) -> Result:
    """One row's result. Raises: RunStopped, CancelledError (see Client.send)."""
    call = Call(request.body, request.input_tokens, request.max_output_tokens)
    outcome = await client.send(call, slot, lambda answer: judge_text(answer, validate))
    answer = outcome.answer
    if answer is None or outcome.complaint is not None or outcome.failure is not None:
        return _failure(request.custom_id, outcome, outcome.usage, outcome.cost_usd)
    return Completion(
        custom_id=request.custom_id,
        response=answer.text,
        embedding=None,
        model=answer.model,
        finish_reason=answer.finish_reason,
        usage=outcome.usage,
        cost_usd=stored_usd(outcome.cost_usd),
        latency_seconds=0.0 if outcome.latency_seconds is None else outcome.latency_seconds,
        attempts=outcome.attempts,
        response_id=answer.response_id,
        answered_at=time.time(),
    )


def pack_inputs(requests: Sequence[Request]) -> list[list[Request]]:
    """Rows' inputs in as few requests as the API's limits allow, in order."""
    packs: list[list[Request]] = []
    tokens = 0
    for request in requests:
        if not packs or len(packs[-1]) >= MAX_INPUTS or tokens + request.input_tokens > MAX_INPUT_TOKENS:
            packs.append([])
            tokens = 0
        packs[-1].append(request)
        tokens += request.input_tokens
    return packs


async def complete_pack(client: Client, builder: RequestBuilder, pack: Sequence[Request], slot: Slot) -> list[Result]:
    """The embeddings of many rows, in order; a pack that the API refuses is halved until the row to blame is alone."""
    body = builder.embeddings_body([request.body for request in pack])
    call = Call(body, sum(request.input_tokens for request in pack), 0)
    outcome = await client.send(call, slot, lambda answer: _judge_vectors(answer, len(pack)))
    if outcome.answer is not None and outcome.complaint is None and outcome.failure is None:
        return _share_vectors(pack, outcome, outcome.answer)
    if len(pack) == 1 or (outcome.failure is not None and outcome.failure.kind not in _ROW_TO_BLAME):
        shares = _share_usage(outcome.usage, outcome.cost_usd, [request.input_tokens for request in pack])
        return [_failure(request.custom_id, outcome, *share) for request, share in zip(pack, shares, strict=True)]
    middle = len(pack) // 2
    halves = [await complete_pack(client, builder, half, slot) for half in (pack[:middle], pack[middle:])]
    return [result for half in halves for result in half]


_ROW_TO_BLAME: frozenset[FailureKind] = frozenset(
    {"invalid_request", "context_length_exceeded", "content_filter", "rate_limited", "invalid_response"}
)


def _share_usage(usage: Usage, cost_usd: Decimal, weights: Sequence[int]) -> list[tuple[Usage, Decimal]]:
    """A request's tokens and money shared among its rows by weight, so that the shares add up to the whole."""
    total = max(1, sum(weights))
    shares: list[tuple[Usage, Decimal]] = []
    seen, given, paid = 0, 0, Decimal(0)
    for weight in weights:
        seen += weight
        tokens = usage.input_tokens * seen // total - given
        money = stored_usd(cost_usd * seen / total) - paid
        given, paid = given + tokens, paid + money
        shares.append((Usage(tokens), money))
    return shares


def _judge_vectors(answer: Answer, expected: int) -> Complaint | None:
    if len(answer.embeddings) == expected:
        return None
    message = f"{len(answer.embeddings)} embeddings came for {expected} inputs"
    return Complaint("invalid_response", message, is_worth_another=True)


def _share_vectors(pack: Sequence[Request], outcome: Outcome, answer: Answer) -> list[Result]:
    shares = _share_usage(outcome.usage, outcome.cost_usd, [request.input_tokens for request in pack])
    now = time.time()
    return [
        Completion(
            custom_id=request.custom_id,
            response=None,
            embedding=vector,
            model=answer.model,
            finish_reason=answer.finish_reason,
            usage=usage,
            cost_usd=stored_usd(cost_usd),
            latency_seconds=0.0 if outcome.latency_seconds is None else outcome.latency_seconds,
            attempts=outcome.attempts,
            response_id=answer.response_id,
            answered_at=now,
        )
        for request, vector, (usage, cost_usd) in zip(pack, answer.embeddings, shares, strict=True)
    ]


def _failure(custom_id: str, outcome: Outcome, usage: Usage, cost_usd: Decimal) -> Failure:
    answer, complaint, refused = outcome.answer, outcome.complaint, outcome.failure
    if refused is not None:
        kind, message, status = refused.kind, refused.message, refused.status
    else:
        assert complaint is not None  # noqa: S101 - an outcome without failure or complaint is a completion
        kind, message, status = complaint.kind, complaint.message, 200
    return Failure(
        custom_id=custom_id,
        kind=kind,
        message=message,
        http_status=status,
        attempts=outcome.attempts,
        response=None if answer is None else refused_text(answer),
        usage=usage,
        cost_usd=stored_usd(cost_usd),
        latency_seconds=outcome.latency_seconds,
        answered_at=time.time(),
        model=answer.model if answer is not None else "",
    )


def unrendered_failure(custom_id: str, message: str) -> Failure:
    """The failure of a row whose template couldn't be rendered; nothing was sent for it."""
    return Failure(
        custom_id=custom_id,
        kind="template_error",
        message=message,
        http_status=None,
        attempts=0,
        response=None,
        usage=Usage(),
        cost_usd=Decimal(0),
        latency_seconds=None,
        answered_at=time.time(),
    )
