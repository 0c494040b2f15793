"""The Batch API."""

import time
from typing import TypeGuard

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from promptmill.simulator.answers.engine import ENDPOINTS, Endpoint
from promptmill.simulator.batches.worker import run_batch
from promptmill.simulator.errors import ApiError, invalid, rate_limited
from promptmill.simulator.http.connection import ConnectionReset, json_response, parse_body
from promptmill.simulator.state.batch import Batch
from promptmill.simulator.state.batch_job import BatchJob
from promptmill.simulator.state.file_store import make_page, read_limit
from promptmill.simulator.state.world import World
from promptmill.simulator.wire import JsonObject, JsonValue, uniform

_COMPLETION_WINDOW = "24h"
_DEFAULT_PAGE = 20
_MAX_PAGE = 100
_MAX_METADATA_PAIRS = 16
_MAX_METADATA_KEY = 64  # characters
_MAX_METADATA_VALUE = 512  # characters


class BatchRoutes:
    """Create, list, describe, cancel."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.routes = [
            Route("/batches", self.create, methods=["POST"]),
            Route("/batches", self.list),
            Route("/batches/{batch_id}", self.show),
            Route("/batches/{batch_id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """POST /batches: the worker checks the file later; the answer may get lost."""
        world = self._world
        key = world.authorize_request(request)
        _maybe_refuse(world)
        world.require_quota()
        job = _start(world, key, parse_body(await request.body()))
        if uniform(world.options.seed, "lose", job.ordinal) < world.options.lose_create_ratio:
            world.ledger.counters["batch_answers_lost"] += 1
            return ConnectionReset()
        return json_response(job.batch.as_json())

    async def list(self, request: Request) -> Response:
        """GET /batches, newest first."""
        key, query = self._world.authorize_request(request), request.query_params
        mine = [job.batch.as_json() for job in reversed(self._world.batches.values()) if job.batch.key == key]
        limit = read_limit(query.get("limit"), _DEFAULT_PAGE, _MAX_PAGE)
        return json_response(make_page(mine, query.get("after"), limit))

    async def show(self, request: Request) -> Response:
        """GET /batches/{batch_id}."""
        return json_response(self._find(request).batch.as_json())

    async def cancel(self, request: Request) -> Response:
        """POST /batches/{batch_id}/cancel."""
        job = self._find(request)
        if job.batch.status != "cancelling":
            try:
                job.cancel()
            except ValueError as error:
                raise ApiError(409, f"Cannot cancel a batch with status '{job.batch.status}'.") from error
        return json_response(job.batch.as_json())

    def _find(self, request: Request) -> BatchJob:
        key, batch_id = self._world.authorize_request(request), request.path_params["batch_id"]
        job = self._world.batches.get(batch_id)
        if job is None or job.batch.key != key:
            raise ApiError(404, f"No batch found with id '{batch_id}'.")
        return job


def _start(world: World, key: str, body: JsonObject) -> BatchJob:
    """A new batch with its worker. Raises: ApiError 400."""
    endpoint, file_id = body.get("endpoint"), body.get("input_file_id")
    if not isinstance(file_id, str):
        raise invalid("Missing required parameter: 'input_file_id'.", "input_file_id", "missing_required_parameter")
    if not _is_endpoint(endpoint):
        supported = ", ".join(f"'{name}'" for name in ENDPOINTS)
        raise invalid(f"Invalid value: '{endpoint}'. Supported values are: {supported}.", "endpoint", "invalid_value")
    if (window := body.get("completion_window")) != _COMPLETION_WINDOW:
        message = f"Invalid value: '{window}'. Value must be '{_COMPLETION_WINDOW}'."
        raise invalid(message, "completion_window", "invalid_value")
    now = int(time.time())
    batch = Batch(
        id=f"batch_{world.next_serial():024x}",
        key=key,
        endpoint=endpoint,
        input_file_id=file_id,
        completion_window=_COMPLETION_WINDOW,
        metadata=_read_metadata(body.get("metadata")),
        created_at=now,
        expires_at=now + int(world.options.batch_expires_seconds),
    )
    world.ledger.counters["batches_created"] += 1
    job = BatchJob(batch, world.ledger.counters["batches_created"])
    world.batches[batch.id] = job
    world.start(run_batch(world, job, endpoint))
    return job


def _is_endpoint(value: JsonValue) -> TypeGuard[Endpoint]:
    return value in ENDPOINTS


def _read_metadata(value: JsonValue) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("Invalid type for 'metadata': expected an object.", "metadata", "invalid_type")
    if len(value) > _MAX_METADATA_PAIRS:
        message = f"Invalid 'metadata': too many properties. Expected at most {_MAX_METADATA_PAIRS}, got {len(value)}."
        raise invalid(message, "metadata", "object_above_max_properties")
    return {name: _read_pair(name, text) for name, text in value.items()}


def _read_pair(name: str, text: JsonValue) -> str:
    if not isinstance(text, str):
        raise invalid(f"Invalid type for 'metadata.{name}': expected a string.", f"metadata.{name}", "invalid_type")
    for what, most in ((name, _MAX_METADATA_KEY), (text, _MAX_METADATA_VALUE)):
        if len(what) > most:
            message = (
                f"Invalid 'metadata.{name}': string too long. Expected at most {most} characters, got {len(what)}."
            )
            raise invalid(message, f"metadata.{name}", "string_above_max_length")
    return text


def _maybe_refuse(world: World) -> None:
    options, counters = world.options, world.ledger.counters
    counters["batch_create_attempts"] += 1
    if uniform(options.seed, "create", counters["batch_create_attempts"]) < options.create_429_ratio:
        counters["batch_create_429"] += 1
        raise rate_limited("Rate limit reached for batch creation.", "requests", options.retry_after_seconds)
