"""What may follow an attempt without an answer, how long to wait before the next, and the words for it. Pure.

Which of these a provider's answer means is decided in verdict.py.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlsplit

from promptmill.records import FailureKind

_BACKOFF_FIRST_SECONDS = 0.5
_BACKOFF_LONGEST_SECONDS = 60.0
_DEFAULT_PENALTY_SECONDS = 2.0  # for a 429 that doesn't say how long
_SLOW_DOWN_SECONDS = 5.0
_WAIT_KEYS = "retry.max_wait_seconds, else retry.max_elapsed_seconds"
FORMAT_PARAMS = (
    "response_format",
    "text.format",
    "text",
)  # what `param` names when a structured answer is asked for wrongly


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The attempt failed, the next may not."""

    kind: FailureKind
    message: str
    status: int | None = None
    wait_seconds: float | None = None  # what the provider asks for, at least
    is_rate_limit: bool = False  # everybody waits, and the row isn't to blame
    names: Literal["rate", "at_once", ""] = ""  # the limit that a refusal names (pressure.py)
    is_token_limit: bool = False  # and it was the tokens a minute
    is_capacity: bool = False  # of the tier that was asked for
    is_slow_down: bool = False  # everybody goes on at half the pace
    is_at_once: bool = False  # the answer came but won't do; ask again without a wait
    is_trouble: bool = False  # the server failed or the connection broke: an outage, if it happens to all rows
    is_bought: bool = False  # the provider took the request for answered, and bills it
    is_answered: bool = False  # the model answered, and the provider keeps the answer back since it breaks the format
    generated: str = ""  # that answer, where the provider shows it
    is_unsent: bool = False  # the provider was never reached, so that no row is to blame
    is_unknown: bool = False  # a shape that nobody knows
    is_free: bool = False  # the row is asked in another way at once; nobody waits, and nothing counts

    @property
    def is_of_concurrency(self) -> bool:
        """Whether too many requests were in flight: the row waits, and the others needn't."""
        return self.is_rate_limit and self.names == "at_once"

    @property
    def holds_everybody_up(self) -> bool:
        """Whether the provider refuses because of how much is sent, so that nobody should send."""
        return self.is_rate_limit or self.is_slow_down


Doubt = Literal["key", "money", "rights", "model", "parameter", "request", "outage"]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The row is refused for good."""

    kind: FailureKind
    message: str
    status: int | None = None
    doubt: Doubt | None = None  # what may be to blame instead of the row; other rows' answers decide (evidence.py)
    param: str = ""  # the part of the request that the provider names


@dataclass(frozen=True, slots=True)
class StopRun:
    """Every other request of this run would end the same way."""

    message: str


@dataclass(frozen=True, slots=True)
class RenewKey:
    """The provider doesn't take the key: look it up once more, since it may have been renewed meanwhile."""

    message: str
    status: int


Verdict = TryAgain | GiveUp | StopRun | RenewKey


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


def describe_redirect(status: int, location: str) -> str:
    """Why a redirect is refused; names the origin it leads to and nothing else of the address."""
    parts = urlsplit(location)
    place = f"{parts.scheme}://{parts.hostname}" if parts.hostname else "another path"
    return (
        f"the provider answered {status}, a redirect to {place}; the key and the rows are sent to the given address only. "
        "Set OPENAI_BASE_URL, or the provider block's base_url, to the address that answers, then run the same command "
        "again."
    )


def describe_long_wait(seconds: float, longest: float, message: str, now: float) -> str:
    """Why a wait that the provider asks for stops the run, and when to come back; `now` in seconds since the epoch."""
    back = datetime.fromtimestamp(now + seconds, UTC)
    return (
        f"The run was stopped: the provider asks to wait {seconds:,.0f} s, until {back:%Y-%m-%d %H:%M} UTC; the limit is "
        f"{longest:,.0f} s ({_WAIT_KEYS}). {message} Run the same command again once the limit is back."
    )


def describe_no_capacity(seconds: float, longest: float, message: str) -> str:
    """Why a provider that refuses everybody stops the run."""
    return (
        f"The run was stopped: the provider has refused every request for {seconds:,.0f} s because of its limits; the limit "
        f"is {longest:,.0f} s ({_WAIT_KEYS}). {message} Its rows stay unanswered: run the same command again "
        "later."
    )


def describe_outage(seconds: float, longest: float, message: str) -> str:
    """Why an outage stops the run."""
    return (
        f"The run was stopped: the provider has answered nothing for {seconds:,.0f} s; the limit is {longest:,.0f} s "
        f"(retry.max_outage_seconds). {message} Its rows stay unanswered: run the same command again once the provider "
        "is back."
    )
