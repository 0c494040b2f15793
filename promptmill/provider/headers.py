"""What a provider's headers say of waiting and of limits. Pure.

Names and forms: OpenAI, "Rate limits" guide, read 2026-11-24. Groq counts `-requests` a day under the same names; the
window is told from how far the limit was used and when it would be whole again, and a long one is not taken as a pace.
A header is another machine's word: a value that can't be meant (not finite, below any limit that is sold, a wait of more
than a week) is read as if it weren't there, so that no header can stop a run or have it send without pause.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from promptmill.limits.token_bucket import ServerLimit

_LONGEST_WINDOW_SECONDS = 150.0  # a minute's limit; resets are rounded, and long windows are hours
_LONGEST_WAIT_SECONDS = 7 * 86400.0  # what asks for more is a mistake: a limit that long is told as an error of money
_LEAST_A_MINUTE = {
    "requests": 1.0,
    "tokens": 1_000.0,
}  # Azure sells tokens by 1,000 a minute; less is no limit, but noise
_MOST_A_MINUTE = 1e12  # OpenAI's highest is 10**8 tokens
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")
_TRY_AGAIN = re.compile(
    r"(?:try again in|retry in|retry after|retryDelay\W{1,4}|wait) ?((?:[\d.]+ ?(?:ms|[dhms]))+)", re.IGNORECASE
)
_RESETS = (  # what names the moment when a limit is back, and what says that nothing is left of it
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"),
    ("anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-input-tokens-remaining"),
    ("anthropic-ratelimit-output-tokens-reset", "anthropic-ratelimit-output-tokens-remaining"),
    ("x-ratelimit-reset-after", None),
    ("x-ratelimit-reset", None),
    ("x-rate-limit-reset", None),
    ("ratelimit-reset", None),
)
_FIRST_EPOCH_SECONDS = 1e9  # a number from here on is a moment (2001 or later), no duration
_FIRST_EPOCH_MILLISECONDS = 1e12
_UNIT_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_UNKNOWN = ServerLimit(None, None)


def parse_duration(text: str) -> float | None:
    """Seconds of a duration such as `6m0s`, `7.66s`, `120ms` or a bare number of seconds; None when it is neither.

    Never negative, never infinite.
    """
    text = text.strip()
    if (number := _number(text)) is not None:
        return max(0.0, number)
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    parts = [(_number(part), unit) for part, unit in zip(match.groups(), _UNIT_SECONDS, strict=True) if part]
    seconds = sum(math.inf if number is None else number * unit for number, unit in parts)
    return seconds if math.isfinite(seconds) else None


def retry_after_seconds(headers: Mapping[str, str], message: str, now: float) -> float | None:
    """How long the provider asks to wait, from its headers or, failing these, its message; `now` since the epoch.

    None where it says nothing, or nothing that can be meant: more than a week.
    """
    for seconds in _waits(headers, message, now):
        if seconds is not None and seconds <= _LONGEST_WAIT_SECONDS:
            return seconds
    return None


def _waits(headers: Mapping[str, str], message: str, now: float) -> Iterator[float | None]:
    """What each place says, the most exact first."""
    milliseconds = parse_duration(headers.get("retry-after-ms", ""))
    yield None if milliseconds is None else milliseconds / 1000
    yield _seconds_until(headers.get("retry-after", ""), now)
    match = _TRY_AGAIN.search(message)
    yield parse_duration(match.group(1).replace(" ", "")) if match is not None else None
    used_up = [name for name, left in _RESETS if left is None or _number(headers.get(left, "")) == 0]
    resets = [_seconds_until(headers.get(name, ""), now) for name in used_up]
    yield max((seconds for seconds in resets if seconds is not None), default=None)


def _seconds_until(text: str, now: float) -> float | None:
    """Seconds of a duration, or until a moment: an HTTP date, an ISO date, seconds or milliseconds since the epoch.

    0 for a moment in the past; None when it is neither.
    """
    seconds = parse_duration(text)
    if seconds is None:
        moment = _moment_of(text)
        return None if moment is None else max(0.0, moment - now)
    if seconds >= _FIRST_EPOCH_MILLISECONDS:
        seconds /= 1000
    return max(0.0, seconds - now) if seconds >= _FIRST_EPOCH_SECONDS else seconds


def _moment_of(text: str) -> float | None:
    """Seconds since the epoch of an HTTP or ISO date; one without a zone is in UTC."""
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = parse(text.strip())
            return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, OSError):
            continue
    return None


def has_used_up_limit(headers: Mapping[str, str]) -> bool:
    """Whether the headers say that nothing is left of a limit of requests or tokens."""
    return any(_number(headers.get(left, "")) == 0 for _, left in _RESETS if left is not None)


def server_limits(headers: Mapping[str, str]) -> tuple[ServerLimit, ServerLimit]:
    """The limits of requests and of tokens a minute that an answer told, those that can be meant; None where it told none."""
    return _server_limit(headers, "requests"), _server_limit(headers, "tokens")


def split_limits(headers: Mapping[str, str]) -> tuple[ServerLimit, ServerLimit]:
    """The limits of input and of output tokens a minute that an answer told, as Anthropic names them."""
    return _split_limit(headers, "input"), _split_limit(headers, "output")


def _split_limit(headers: Mapping[str, str], what: Literal["input", "output"]) -> ServerLimit:
    limit = _number(headers.get(f"anthropic-ratelimit-{what}-tokens-limit", ""))
    if limit is None or not _LEAST_A_MINUTE["tokens"] <= limit <= _MOST_A_MINUTE:
        return _UNKNOWN
    remaining = _number(headers.get(f"anthropic-ratelimit-{what}-tokens-remaining", ""))
    return ServerLimit(limit, None if remaining is None else min(max(0.0, remaining), limit))


def _server_limit(headers: Mapping[str, str], what: Literal["requests", "tokens"]) -> ServerLimit:
    limit = _number(headers.get(f"x-ratelimit-limit-{what}", ""))
    if limit is None or not _LEAST_A_MINUTE[what] <= limit <= _MOST_A_MINUTE:
        return _UNKNOWN
    remaining = _number(headers.get(f"x-ratelimit-remaining-{what}", ""))
    remaining = None if remaining is None else min(max(0.0, remaining), limit)
    used = limit - remaining if remaining is not None else 0.0
    reset = parse_duration(headers.get(f"x-ratelimit-reset-{what}", "")) if used > 0 else None
    if reset and reset * limit / used > _LONGEST_WINDOW_SECONDS and reset > 1:
        return _UNKNOWN
    return ServerLimit(limit, remaining)


def _number(text: str) -> float | None:
    """A finite number; None when the text is none. Python alone takes an underscore for a part of one (`1_0`)."""
    if not text:  # a header that isn't there, as most
        return None
    try:
        number = float("" if "_" in text else text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
