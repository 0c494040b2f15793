"""Decides the outcome of one line of a batch, and writes its line in a result file.

The HTTP error of a line is nested in `response.body.error` while the line's own `error` is null; only a line that was
never run has an `error` (openai-openapi issue 302 and OpenAI's Batch guide, read 2026-11-24).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from promptmill.simulator.answers.engine import Answer, Call, Endpoint, answer, read_call
from promptmill.simulator.answers.reply import find_poison
from promptmill.simulator.errors import ApiError, invalid, server_failed
from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.usage import Tokenizer
from promptmill.simulator.wire import JsonObject, encode, uniform

Fate = Literal["answered", "expired", "error", "missing", "garbage", "duplicate"]
_LINE_FATES: tuple[tuple[Fate, str], ...] = (
    ("error", "line_error_ratio"),
    ("missing", "line_missing_ratio"),
    ("garbage", "line_garbage_ratio"),
    ("duplicate", "line_duplicate_ratio"),
)
LOST_FATES = frozenset(("missing", "garbage"))
_DEFAULT_EXPIRE_RATIO = 0.5  # where batches expire and no ratio is set
_UNRUN_MESSAGES = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request was not executed because the batch was cancelled.",
}


@dataclass(frozen=True, slots=True)
class LineResult:
    """A line that the provider ran."""

    model: str
    outcome: Answer | ApiError


def has_fates(options: SimulatorOptions) -> bool:
    """Whether lines may get anything else than their answer, so that their attempts must be counted."""
    return any(getattr(options, name) for _, name in _LINE_FATES)


def choose_fate(options: SimulatorOptions, digest: bytes, attempt: int, *, is_expiring: bool) -> Fate:
    """The outcome of a body's n-th line (1 = first, counted over all batches)."""
    ratio = options.expire_ratio or _DEFAULT_EXPIRE_RATIO
    if is_expiring and uniform(options.seed, "expire", digest, attempt) < ratio:
        return "expired"
    draw = uniform(options.seed, "line", digest, attempt)
    for fate, name in _LINE_FATES:
        draw -= getattr(options, name)
        if draw < 0:
            return fate
    return "answered"


def run_line(
    endpoint: Endpoint,
    body: JsonObject,
    digest: bytes,
    fate: Fate,
    options: SimulatorOptions,
    tokenizer: Tokenizer,
    cached_tokens: Callable[[Call], int],
) -> LineResult:
    """The answer or the error of a line's request; a hanging request ends as a 500."""
    model = str(body.get("model"))
    try:
        if fate == "error":
            raise _line_error(digest)
        call: Call = read_call(endpoint, body, options, tokenizer)
        if find_poison(call.text) == "HANG":
            raise server_failed()
        return LineResult(model, answer(call, digest, options, tokenizer, cached_tokens(call)))
    except ApiError as error:
        return LineResult(model, error)


def result_line(serial: int, custom_id: str, outcome: Answer | ApiError) -> bytes:
    """The output file's line of an answer, or the error file's line of an HTTP error."""
    failed = isinstance(outcome, ApiError)
    body: JsonObject = {"error": outcome.error} if failed else outcome.payload
    return _line(
        serial,
        custom_id,
        {"status_code": outcome.status if failed else 200, "request_id": f"req_{serial:032x}", "body": body},
        None,
    )


def unrun_line(serial: int, custom_id: str, code: str) -> bytes:
    """The error file's line of a request that was never run."""
    return _line(serial, custom_id, None, {"code": code, "message": _UNRUN_MESSAGES[code]})


def _line(serial: int, custom_id: str, response: JsonObject | None, error: JsonObject | None) -> bytes:
    line: JsonObject = {
        "id": f"batch_req_{serial:024x}",
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return encode(line) + b"\n"


def _line_error(digest: bytes) -> ApiError:
    if digest[1] % 2:
        return server_failed()
    return invalid("Invalid request: the content of this request is not accepted.", "messages")
