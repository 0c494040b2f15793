"""Which limit a refusal speaks of, the one a minute or the one at once, and so who acts on it. Pure.

A refusal that names a limit a minute is the rate limiter's: fewer requests in flight wouldn't help. One that names
requests at once, or an overload, says that too many are in flight: the row alone waits, and fewer are sent at once. One that
names neither may be either, so both act.
"""

import re
from collections.abc import Mapping
from typing import Literal

from promptmill.limits.concurrency import Ending
from promptmill.provider.error_body import ErrorBody
from promptmill.provider.headers import has_used_up_limit
from promptmill.provider.response_body import Answer
from promptmill.provider.retry_policy import TryAgain, Verdict

_A_MINUTE = re.compile(
    r"\bper[ _-]?(second|minute|min|hour|day)|per_(second|minute|hour|day)|\b[RT]P[SMHD]\b|/ ?min\b|"
    r"\b(call|tokens?|requests?) rate limit|requests? rate",
    re.IGNORECASE,
)
_AT_ONCE = re.compile(
    r"concurren|simultaneous|in parallel|parallel requests|in[ -]flight|at (once|the same time)|pending requests|"
    r"queue (is )?(too )?(full|long)",
    re.IGNORECASE,
)
_OVERLOADED = frozenset({503, 529})
_LATE = frozenset({408, 504})

Named = Literal["rate", "at_once", ""]


def limit_named(headers: Mapping[str, str], error: ErrorBody) -> Named:
    """The limit that a refusal names; empty where it names none."""
    if _AT_ONCE.search(error.message):
        return "at_once"
    if error.type in {"tokens", "requests"} or _A_MINUTE.search(error.message) or has_used_up_limit(headers):
        return "rate"
    return ""


def ending_of(verdict: Answer | Verdict) -> Ending:
    """What an attempt's end says of the number of requests in flight."""
    if not isinstance(verdict, TryAgain) or verdict.is_bought:
        return "answered"
    if verdict.holds_everybody_up:
        return "other" if verdict.names == "rate" else "refused"
    if verdict.status in _OVERLOADED:
        return "refused"
    is_late = verdict.status in _LATE or (verdict.kind == "timeout" and not verdict.is_unsent)
    return "timeout" if is_late else "other"
