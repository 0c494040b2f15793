"""Parses deadlines: a time from the run's start, such as `6h`, or a moment, such as `2026-12-01T08:00:00Z`. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from promptmill.errors import JobError, SetupError

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_MOST_SECONDS = 30 * 86_400.0  # a provider keeps a batch's files for a month
_FORMS = "a time from the run's start such as 6h, 90m or 1d 12h, or a moment with its zone such as 2026-12-01T08:00:00Z"


def _duration_seconds(text: str) -> float | None:
    """The seconds of a time such as `6h` or `1h30m`; None for any other text."""
    bare = text.strip().lower()
    if not bare or _PART.sub("", bare).strip():
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(bare))


def spoken_time(text: str) -> str:
    """The value of `--within`; a bare number means hours."""
    return f"{text.strip()}h" if _NUMBER.fullmatch(text.strip()) else text


def spoken_hours(text: str) -> float:
    """The hours of a time such as `6h`. Raises: SetupError for any other text."""
    seconds = _duration_seconds(spoken_time(text))
    if seconds is None:
        raise SetupError(f"{text!r} is no time, such as 6, 6h or 90m (--within). Give one.")
    return seconds / 3_600


def deadline_at(text: str, started_at: datetime) -> datetime:
    """The deadline of a run that began at this moment. Raises: ValueError if the text isn't a deadline."""
    seconds = _duration_seconds(text)
    if seconds is None:
        return _moment(text)
    if not 0 < seconds <= _MOST_SECONDS:
        raise ValueError(f"{text!r} is {seconds:,.0f} seconds; more than 0 and at most 30d are allowed. Give {_FORMS}")
    return started_at + timedelta(seconds=seconds)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} says no deadline. Give {_FORMS}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone, and a worker's may be another one. Add Z or +01:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside the calendar. Give {_FORMS}") from None


def _as_text(value: object) -> object:
    """The text of a moment or number that YAML has parsed."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _require_deadline(text: str) -> str:
    """Returns the text if it is a deadline. Raises: ValueError."""
    deadline_at(text, datetime.now(UTC))
    return text


Deadline = Annotated[str, BeforeValidator(_as_text), AfterValidator(_require_deadline)]


def refuse_by_batches_alone(deadline: str | None, mode: str) -> None:
    """Raises JobError if a run by batches alone has a deadline, because such a run sends nothing online."""
    if deadline is not None and mode == "batch":
        raise JobError(
            f"the job has a deadline ({deadline}), and a run by batches alone can't keep it: it takes as long as the provider "
            "likes. Run it online (`promptmill run` without --mode batch, online-inference): such a run submits batches first "
            "and asks online what they don't answer in time. Or leave `deadline` out."
        )
