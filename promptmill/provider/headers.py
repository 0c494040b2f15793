"""What a provider's headers say of waiting and of limits. Pure.

Names and forms: OpenAI, "Rate limits" guide, read 2026-11-24. Groq counts `-requests` a day under the same names; the
window is told from how far the limit was used and when it would be whole again, and a long one is not taken as a pace.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from promptmill.limits.token_bucket import ServerLimit

LONGEST_WINDOW_SECONDS = 150.0  # a minute's limit; resets are rounded, and long windows are hours
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")
_TRY_AGAIN = re.compile(r"try again in ((?:[\d.]+(?:ms|[dhms]))+)", re.IGNORECASE)
_UNIT_SECONDS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
UNKNOWN = ServerLimit(None, None)


def parse_duration(text: str) -> float | None:
    """Seconds of a duration such as `6m0s`, `7.66s`, `120ms` or a bare number of seconds; None when it is neither."""
    text = text.strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    try:
        return sum(float(part) * unit for part, unit in zip(match.groups(), _UNIT_SECONDS, strict=True) if part)
    except ValueError:
        return None


def retry_after_seconds(headers: Mapping[str, str], message: str, now: float) -> float | None:
    """How long the provider asks to wait, from its headers or, failing these, its message; `now` since the epoch."""
    if (milliseconds := headers.get("retry-after-ms")) and (parsed := parse_duration(milliseconds)) is not None:
        return parsed / 1000
    if after := headers.get("retry-after"):
        if (parsed := parse_duration(after)) is not None:
            return parsed
        try:
            return max(0.0, parsedate_to_datetime(after).timestamp() - now)
        except ValueError:
            pass
    match = _TRY_AGAIN.search(message)
    return parse_duration(match.group(1)) if match else None


def server_limits(headers: Mapping[str, str]) -> tuple[ServerLimit, ServerLimit]:
    """The limits of requests and of tokens a minute that an answer told, `UNKNOWN` where it told none."""
    return _server_limit(headers, "requests"), _server_limit(headers, "tokens")


def _server_limit(headers: Mapping[str, str], what: str) -> ServerLimit:
    limit = _number(headers.get(f"x-ratelimit-limit-{what}"))
    if limit is None:
        return UNKNOWN
    remaining = _number(headers.get(f"x-ratelimit-remaining-{what}"))
    reset = parse_duration(headers.get(f"x-ratelimit-reset-{what}", ""))
    used = limit - remaining if remaining is not None else 0.0
    if reset and used > 0 and reset * limit / used > LONGEST_WINDOW_SECONDS and reset > 1:
        return UNKNOWN
    return ServerLimit(limit, remaining)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
