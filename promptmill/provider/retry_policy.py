"""What to do after an attempt without an answer: try again, give the row up, or stop the run. Pure.

Decided on status and error code, never on a message where a code exists: codes are contract, messages aren't.
Codes and their meaning: OpenAI, "Error codes" and "Rate limits" guides, read 2026-11-24.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from promptmill.provider.headers import retry_after_seconds
from promptmill.provider.json_fields import mapping_of, name_of
from promptmill.provider.redaction import redact
from promptmill.records import FailureKind
from promptmill.shorten import shorten

_BACKOFF_FIRST_SECONDS = 0.5
_BACKOFF_LONGEST_SECONDS = 60.0
_DEFAULT_PENALTY_SECONDS = 2.0  # for a 429 that doesn't say how long
_SLOW_DOWN_SECONDS = 5.0
_MESSAGE_CHARACTERS = 500
_NO_MONEY = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)
_FILTERED = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_TOO_LONG = frozenset({"context_length_exceeded", "string_above_max_length", "request_too_large"})


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What the provider says is wrong."""

    message: str
    code: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The attempt failed, the next may not."""

    kind: FailureKind
    message: str
    status: int | None = None
    wait_seconds: float | None = None  # what the provider asks for, at least
    is_rate_limit: bool = False  # everybody waits, and the row isn't to blame
    is_token_limit: bool = False  # and it was the tokens a minute
    is_slow_down: bool = False  # everybody goes on at half the pace
    is_at_once: bool = False  # the answer came but won't do; nothing is to be waited for

    @property
    def holds_everybody_up(self) -> bool:
        """Whether the provider refuses because of how much is sent, so that nobody should send."""
        return self.is_rate_limit or self.is_slow_down


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The row is refused for good."""

    kind: FailureKind
    message: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class StopRun:
    """Every other request of this run would end the same way."""

    message: str


Verdict = TryAgain | GiveUp | StopRun


def backoff_seconds(attempt: int, chance: float) -> float:
    """Seconds before the attempt after the `attempt`-th (1 = first): doubling, half of it jitter by `chance` in [0, 1)."""
    longest = min(_BACKOFF_LONGEST_SECONDS, _BACKOFF_FIRST_SECONDS * 2 ** min(attempt, 30))
    return longest * (0.5 + chance / 2)


def retry_seconds(told: float | None, failures: int, chance: float) -> float:
    """Seconds before a row is tried again after so many errors: what the provider asked for, within bounds.

    Never below the backoff, so that `Retry-After: 0` doesn't hammer; never above a minute, since attempts are counted.
    """
    return max(backoff_seconds(failures, chance), min(0.0 if told is None else told, _BACKOFF_LONGEST_SECONDS))


def penalty_seconds(verdict: TryAgain, times: int) -> float:
    """Seconds for which nobody sends, after a row's `times`-th refusal (1 = first)."""
    if verdict.wait_seconds is not None:
        return verdict.wait_seconds
    return _SLOW_DOWN_SECONDS if verdict.is_slow_down else _DEFAULT_PENALTY_SECONDS * 2 ** min(times - 1, 5)


def read_error(content: bytes, secrets: Sequence[str]) -> ErrorBody:
    """The error in a body, whatever its shape: OpenAI's, a proxy's or a page of HTML; the secrets are cut out."""
    try:
        payload: object = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ErrorBody(_clip(redact(content.decode("utf-8", "replace"), secrets)) or "no message")
    return read_error_payload(payload, secrets)


def read_error_payload(payload: object, secrets: Sequence[str]) -> ErrorBody:
    """The error in a parsed body; the secrets are cut out."""
    error = mapping_of(payload).get("error", payload)
    if not isinstance(error, dict):
        return ErrorBody(_clip(redact(_words_of(error), secrets)))
    fields = mapping_of(error)
    message = fields.get("message") or fields.get("detail") or "no message"
    return ErrorBody(
        message=_clip(redact(_words_of(message), secrets)),
        code=redact(name_of(fields.get("code")), secrets),
        type=redact(name_of(fields.get("type")), secrets),
    )


def _words_of(value: object) -> str:
    try:
        return str(value)
    except RecursionError:
        return "a message that is nested too deeply to be shown"


def classify_status(status: int, headers: Mapping[str, str], error: ErrorBody, now: float) -> Verdict:
    """What an answer that isn't a 200 means; `now` in seconds since the epoch."""
    wait = retry_after_seconds(headers, error.message, now)
    if status == 429:
        return _classify_429(error, wait)
    if 300 <= status < 400:
        return StopRun(describe_redirect(status, headers.get("location", "")))
    if status in {401, 403, 404}:
        return StopRun(_refusal(status, error))
    if status in {408, 409, 498} or status >= 500:
        if headers.get("x-should-retry") == "false":
            return GiveUp("server_error", error.message, status)
        slow = status == 503 and "slow down" in error.message.lower()
        kind: FailureKind = "timeout" if status == 408 else "server_error"
        return TryAgain(kind, error.message, status, wait, is_slow_down=slow)
    return GiveUp(_kind_of_400(error), error.message, status)


def _classify_429(error: ErrorBody, wait: float | None) -> Verdict:
    if error.code in _NO_MONEY or error.type in _NO_MONEY:
        return StopRun(
            f"the provider has no quota left for this key ({error.code or error.type}): {error.message} "
            "Add credit or raise the limit, then run the same command again."
        )
    if error.message.startswith("Request too large"):
        return GiveUp("rate_limited", error.message, 429)
    slow = error.code == "slow_down"
    by_tokens = error.type == "tokens" or "(TPM)" in error.message
    return TryAgain(
        kind="rate_limited",
        message=error.message,
        status=429,
        wait_seconds=wait,
        is_rate_limit=not slow,
        is_token_limit=by_tokens,
        is_slow_down=slow,
    )


def _kind_of_400(error: ErrorBody) -> FailureKind:
    if error.code in _TOO_LONG or "maximum context length" in error.message:
        return "context_length_exceeded"
    if error.code in _FILTERED:
        return "content_filter"
    return "invalid_request"


def _refusal(status: int, error: ErrorBody) -> str:
    remedy = {
        401: "Check OPENAI_API_KEY or the job's provider block",
        403: "Check what the key's project may use",
        404: "Check request.model, request.endpoint and OPENAI_BASE_URL",
    }[status]
    return f"the provider answered {status}: {error.message} {remedy}, then run the same command again."


def describe_redirect(status: int, location: str) -> str:
    """Why a redirect is refused; names the origin it leads to and nothing else of the address."""
    parts = urlsplit(location)
    place = f"{parts.scheme}://{parts.hostname}" if parts.hostname else "another path"
    return (
        f"the provider answered {status}, a redirect to {place}; the key and the rows are sent to the given address only. "
        "Set OPENAI_BASE_URL, or the provider block's base_url, to the address that answers, then run the same command "
        "again."
    )


def describe_long_wait(seconds: float, longest: float, message: str) -> str:
    """Why a wait that the provider asks for stops the run."""
    return (
        f"The run was stopped: the provider asks to wait {seconds:,.0f} s; the limit is {longest:,.0f} s "
        f"(retry.max_elapsed_seconds). {message} Run the same command again once the limit is back."
    )


def _clip(text: str) -> str:
    return shorten(" ".join(text.split()), _MESSAGE_CHARACTERS)
