"""What a deadline may be, and when a run goes on with the one of its first start."""

from datetime import UTC, datetime, timedelta

import pytest

from promptmill.checkpoints.deadline_record import DeadlineRecord, going_on
from promptmill.documents import load_yaml
from promptmill.job.deadline import deadline_at, spoken_time
from promptmill.job.spec import Job

START = datetime(2026, 12, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("6h", START + timedelta(hours=6), id="hours"),
        pytest.param("90m", START + timedelta(minutes=90), id="minutes"),
        pytest.param("1d 12h", START + timedelta(hours=36), id="days-and-hours"),
        pytest.param("1.5H", START + timedelta(minutes=90), id="a-fraction"),
        pytest.param("2026-12-02T08:00:00+01:00", datetime(2026, 12, 2, 7, tzinfo=UTC), id="a-moment"),
    ],
)
def test_a_deadline_is_a_time_from_the_start_or_a_moment(text: str, expected: datetime) -> None:
    assert deadline_at(text, START) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("soon", "says no deadline", id="a-word"),
        pytest.param("6", "says no deadline", id="no-unit"),
        pytest.param("0h", "more than 0", id="no-time"),
        pytest.param("31d", "at most 30d", id="too-long"),
        pytest.param("2026-12-02T08:00:00", "names no time zone", id="no-zone"),
        pytest.param("9999-12-31T23:00:00-05:00", "outside the calendar", id="no-such-day"),
    ],
)
def test_any_other_text_is_refused_with_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        deadline_at(text, START)


def test_a_bare_number_in_a_command_counts_hours() -> None:
    assert [spoken_time(text) for text in ("6", " 1.5 ", "6h")] == ["6h", "1.5h", "6h"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("6h", "6h", id="a-time"),
        pytest.param("2026-12-01T08:00:00Z", "2026-12-01T08:00:00+00:00", id="a-moment-that-yaml-reads-as-one"),
    ],
)
def test_a_job_file_may_have_either(written: str, expected: str) -> None:
    values = load_yaml(
        f"{{name: j, input: {{url: i}}, request: {{model: m, user: u}}, output: {{url: o}}, deadline: {written}}}"
    )

    assert Job.model_validate(values).deadline == expected


@pytest.mark.parametrize(
    ("changes", "hours", "expected"),
    [
        pytest.param({}, 1, True, id="before-it"),
        pytest.param({}, 8, True, id="a-little-late"),
        pytest.param({}, 24, False, id="the-next-night"),
        pytest.param({"text": "8h"}, 1, False, id="another-deadline"),
        pytest.param({"job_digest": "b"}, 1, False, id="another-job"),
    ],
)
def test_a_run_goes_on_with_its_deadline_and_the_next_night_begins_its_own(
    changes: dict[str, str], hours: int, expected: bool
) -> None:
    values = {"text": "6h", "job_digest": "a", **changes}
    record = DeadlineRecord(values["text"], values["job_digest"], START, START + timedelta(hours=6))

    assert going_on(record, "6h", "a", START + timedelta(hours=hours)) is expected


def test_a_run_goes_on_with_a_deadline_at_the_end_of_the_calendar() -> None:
    record = DeadlineRecord("6h", "a", START, datetime(9999, 12, 31, tzinfo=UTC))

    assert going_on(record, "6h", "a", START)
