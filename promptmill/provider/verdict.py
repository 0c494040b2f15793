"""What an answer of a provider means: `classify(status, headers, body)`, the one place where that is decided. Pure.

| verdict | what follows |
|---|---|
| `Answer` | the row has its answer |
| `GiveUp` | this row is refused; with a `doubt`, other rows' answers decide whether it is this row's fault (evidence.py) |
| `TryAgain` | try this row again; with `is_rate_limit` or `is_slow_down`, everybody waits |
| `StopRun` | every row would be refused alike: the run ends, and its rows stay unanswered |
| `RenewKey` | look the key up once more |

An error counts wherever it stands: as the HTTP status, or inside a 200. A shape that nobody knows is tried again, a bounded
number of times, and counted for the report.
Codes and their meaning: OpenAI, "Error codes" and "Rate limits" guides, read 2026-11-24; the shapes of other providers, with
source and date: tests/promptmill/provider/recorded_shapes.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from promptmill.job.spec import Endpoint
from promptmill.provider.body_parser import NoJson, parse_body
from promptmill.provider.error_body import ErrorBody, read_error, read_error_payload
from promptmill.provider.error_causes import Cause, cause_of, status_told
from promptmill.provider.filter_results import categories_of_prompt
from promptmill.provider.headers import retry_after_seconds
from promptmill.provider.json_fields import list_of, mapping_of
from promptmill.provider.pressure import limit_named
from promptmill.provider.redaction import redact
from promptmill.provider.response_body import Answer, Unreadable, read_payload
from promptmill.provider.retry_policy import (
    FORMAT_PARAMS,
    Doubt,
    GiveUp,
    RenewKey,
    StopRun,
    TryAgain,
    Verdict,
    describe_redirect,
)
from promptmill.records import FailureKind
from promptmill.shorten import shorten

_RAW_CHARACTERS = 200  # of an answer of an unknown shape
_DOUBTS: dict[Cause, Doubt] = {
    "money": "money",
    "key": "key",
    "rights": "rights",
    "model": "model",
    "request": "request",
}
_NO_DOUBT = frozenset({413})  # the row's own size
_ROWS_OWN = ("messages", "input", "prompt", "contents")  # what `param` names when a row's text is to blame
_REMEDIES: dict[Doubt, str] = {
    "key": "Check OPENAI_API_KEY or the job's provider block",
    "money": "Add credit or raise the limit",
    "rights": "Check what the key's project may use",
    "model": "Check request.model, request.deployment, request.endpoint and OPENAI_BASE_URL",
    "request": "Check request.model, request.parameters and the prompt",
    "parameter": "Change or remove it in request.parameters",
    "outage": "Wait until the provider is back",
}
_FORMAT_REMEDY = "Choose another request.structured (json_object, prompt, tool) or change response_schema"


def classify(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    endpoint: Endpoint,
    now: float,
    secrets: Sequence[str] = (),
) -> Answer | Verdict:
    """What an answer means; `now` in seconds since the epoch. The secrets are cut out of every text."""
    if not 200 <= status < 300:
        return verdict_on(status, headers, read_error(content, secrets), now)
    try:
        payload = parse_body(content)
        if (error := _error_inside(payload)) is not None:
            return _verdict_inside(headers, read_error_payload(error, secrets), now)
        return read_payload(endpoint, payload, secrets)
    except NoJson as error:
        said = read_error(content, secrets).message
        message = f"the answer can't be read: {error}: {said}"
        return TryAgain("invalid_response", message, status, is_bought=True, is_unknown=True)
    except Unreadable as error:
        return _verdict_on_unreadable(content, str(error), status, secrets)


def verdict_on(status: int, headers: Mapping[str, str], error: ErrorBody, now: float) -> Verdict:
    """What an error means; its status is HTTP's, or the one that an error inside a 200 stands for."""
    if 300 <= status < 400:
        return StopRun(describe_redirect(status, headers.get("location", "")))
    cause = cause_of(status, error)
    if cause in {"limit", "day", "capacity", "slow_down"}:
        return _wait(cause, status, headers, error, now)
    if cause == "server":
        return _server_failed(status, headers, error, now)
    if cause == "answer":
        kept_back = TryAgain(
            "invalid_response", error.message, status, is_at_once=True, is_bought=True, is_answered=True
        )
        return replace(kept_back, generated=error.generated)
    if cause == "filtered":
        return GiveUp("content_filter", error.message, status)
    if cause == "too_long":
        return GiveUp("context_length_exceeded", error.message, status)
    if cause == "money" and status == 429:
        return StopRun(
            f"the provider has no quota left for this key ({error.code or error.type or status}): {error.message} "
            "Add credit or raise the limit, then run the same command again."
        )
    if cause == "key":
        return RenewKey(error.message, status)
    return _refused(cause, status, error)


def without_evidence(verdict: Verdict) -> TryAgain | GiveUp | StopRun:
    """A verdict where no other rows' answers can be asked: what may be everybody's fault stops the run."""
    if isinstance(verdict, RenewKey):
        return StopRun(describe_refusal("key", verdict.status, verdict.message))
    if isinstance(verdict, GiveUp) and verdict.doubt not in {None, "request", "parameter"}:
        return StopRun(describe_refusal(verdict.doubt, verdict.status, verdict.message))
    return verdict


def among_lines(verdict: Verdict, *, has_answers: bool, is_canary: bool = False) -> TryAgain | GiveUp | StopRun:
    """A verdict on a line of a batch, by the other lines: what may be everybody's fault is, where no line was answered.

    Of the first few rows of a large job (`is_canary`) every refusal is taken so: nothing was sent for the others yet.
    """
    if not isinstance(verdict, GiveUp) or verdict.doubt is None:
        return without_evidence(verdict)
    if verdict.doubt in {"money", "key"}:  # which may end amid a batch
        return StopRun(describe_refusal(verdict.doubt, verdict.status, verdict.message))
    if has_answers or (verdict.doubt == "request" and not is_canary):
        return replace(verdict, doubt=None)
    return StopRun(describe_refusal(verdict.doubt, verdict.status, verdict.message, verdict.param))


def describe_refusal(doubt: Doubt | None, status: int | None, message: str, param: str = "") -> str:
    """A refusal that holds for all rows: what the provider said, and what to change."""
    named = f" (it names {param!r})" if param else ""
    if doubt is None:
        return f"the provider answered {status}{named}: {message}"
    remedy = f" {_FORMAT_REMEDY if param in FORMAT_PARAMS else _REMEDIES[doubt]}, then run the same command again."
    return f"the provider answered {status}{named}: {message}{remedy}"


def _refused(cause: Cause, status: int, error: ErrorBody) -> GiveUp:
    doubt = None if status in _NO_DOUBT else _DOUBTS.get(cause)
    if doubt == "request" and error.param and not error.param.startswith(_ROWS_OWN):
        doubt = "parameter"
    return GiveUp("invalid_request", error.message, status, doubt, error.param if doubt == "parameter" else "")


def _wait(cause: Cause, status: int, headers: Mapping[str, str], error: ErrorBody, now: float) -> Verdict:
    """A refusal because of how much is sent, by us or by all."""
    wait = retry_after_seconds(headers, error.message, now)
    if error.message.startswith("Request too large"):
        return GiveUp("rate_limited", error.message, status)
    if cause == "day" and wait is None:
        return StopRun(
            f"the provider's limit for a day is used up, and it doesn't say when it is back: {error.message} "
            "Run the same command again once the day is over (most providers count by UTC)."
        )
    if cause == "capacity" and status >= 500:
        return _server_failed(status, headers, error, now)
    return TryAgain(
        kind="rate_limited",
        message=error.message,
        status=status,
        wait_seconds=wait,
        is_rate_limit=cause != "slow_down",
        names=limit_named(headers, error),
        is_capacity=cause == "capacity",
        is_token_limit=error.type == "tokens" or "(TPM)" in error.message,
        is_slow_down=cause == "slow_down",
    )


def _server_failed(status: int, headers: Mapping[str, str], error: ErrorBody, now: float) -> Verdict:
    if headers.get("x-should-retry") == "false":
        return GiveUp("server_error", error.message, status)
    slow = status == 503 and "slow down" in error.message.lower()
    kind: FailureKind = "timeout" if status == 408 else "server_error"
    wait = retry_after_seconds(headers, error.message, now)
    return TryAgain(kind, error.message, status, wait, is_slow_down=slow, is_trouble=status >= 500 and not slow)


def _error_inside(payload: object) -> object:
    """The error in the body of a 200; None where there is none, or an answer that ended well beside it."""
    fields = mapping_of(payload)
    choices = list_of(fields.get("choices"))
    choice = mapping_of(choices[0]) if choices else {}
    if choice.get("error"):
        return None if _ended_well(choice) else choice
    if fields.get("error") or mapping_of(fields.get("base_resp")).get("status_code"):
        return None if _ended_well(choice) else payload
    if choices or "output" in fields or "data" in fields or "choices" in fields:
        return None
    says = fields.get("object") == "error" or any(fields.get(name) for name in ("message", "detail", "errors", "msg"))
    return payload if says else None


def _ended_well(choice: Mapping[str, object]) -> bool:
    return choice.get("finish_reason") == "stop" and bool(mapping_of(choice.get("message")).get("content"))


def _verdict_inside(headers: Mapping[str, str], error: ErrorBody, now: float) -> Verdict:
    """What an error inside a 200 means; it is judged as if the status had told it."""
    status = status_told(error)
    verdict = verdict_on(status if status is not None else 500, headers, error, now)
    if status is None and isinstance(verdict, TryAgain):
        return replace(verdict, is_unknown=True)
    return verdict


def _verdict_on_unreadable(content: bytes, reason: str, status: int, secrets: Sequence[str]) -> Verdict:
    """A 200 that is JSON and no answer: of Azure, which filters a prompt so, or of nobody knows whom."""
    found = mapping_of(parse_body(content))
    if found.get("choices") == [] and (categories := categories_of_prompt(found)):
        return GiveUp(
            "content_filter", f"the provider's filter stopped the prompt: {redact(categories, secrets)}", status
        )
    raw = redact(content.decode("utf-8", "replace"), secrets)
    message = f"{reason}: {shorten(' '.join(raw.split()), _RAW_CHARACTERS)}"
    return TryAgain("invalid_response", message, status, is_bought=True, is_unknown=True)
