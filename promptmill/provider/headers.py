"""What a provider's headers say of waiting and of limits. Pure.

Names and forms: OpenAI, "Rate limits" guide, read 2026-11-24. Groq counts `-requests` a day under the same names; the
window is told from how far the limit was used and when it would be whole again, and a long one is not taken as a pace.
A header is another machine's word: a value that can't be meant (not finite, below any limit that is sold, a wait of more
than a week) is read as if it weren't there, so that no header can stop a run or have it send without pause.
"""

import math
import re
from collections.abc import Iterator, Mapping
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
_TRY_AGAIN = re.compile(r"try again in ((?:[\d.]+(?:ms|[dhms]))+)", re.IGNORECASE)
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
    after = headers.get("retry-after", "")
    yield parse_duration(after)
    yield _seconds_until(after, now)
    match = _TRY_AGAIN.search(message)
    yield parse_duration(match.group(1)) if match is not None else None


def _seconds_until(date: str, now: float) -> float | None:
    """Seconds until an HTTP date, 0 for one in the past; None when it is no date."""
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now)
    except (ValueError, OverflowError, OSError):
        return None


def server_limits(headers: Mapping[str, str]) -> tuple[ServerLimit, ServerLimit]:
    """The limits of requests and of tokens a minute that an answer told, those that can be meant; None where it told none."""
    return _server_limit(headers, "requests"), _server_limit(headers, "tokens")


def _server_limit(headers: Mapping[str, str], what: Literal["requests", "tokens"]) -> ServerLimit:
    limit = _number(headers.get(f"x-ratelimit-limit-{what}", ""))
    if limit is None or not _LEAST_A_MINUTE[what] <= limit <= _MOST_A_MINUTE:
        return _UNKNOWN
    remaining = _number(headers.get(f"x-ratelimit-remaining-{what}", ""))
    remaining = None if remaining is None else min(max(0.0, remaining), limit)
    reset = parse_duration(headers.get(f"x-ratelimit-reset-{what}", ""))
    used = limit - remaining if remaining is not None else 0.0
    if reset and used > 0 and reset * limit / used > _LONGEST_WINDOW_SECONDS and reset > 1:
        return _UNKNOWN
    return ServerLimit(limit, remaining)


def _number(text: str) -> float | None:
    """A finite number; None when the text is none. Python alone takes an underscore for a part of one (`1_0`)."""
    try:
        number = float("" if "_" in text else text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
