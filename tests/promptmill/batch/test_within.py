"""Until when rows are left to batches: in time whenever online alone could be, never dearer, and nothing asked twice."""

import pytest

from promptmill.batch.timing import give_batches_up
from promptmill.batch.within import (
    CANCEL_SECONDS,
    LEAST_BATCH_SECONDS,
    START_SECONDS,
    Moment,
    Step,
    is_hopeless,
    move_at,
    next_step,
    probe_rows,
    seen_rate,
)
from promptmill.job.spec import Job
from promptmill.runs.online_pace import MARGIN
from tests.support.batch_world import ONLINE_PRICE, Behaviour, behaviour, run_in_time

SEEDS = 200
SPARE_SECONDS = 90.0  # a run that is done by a hair online alone has no time to measure its pace either


@pytest.fixture
def job() -> Job:
    """Whose batches are looked at once a minute."""
    return Job.model_validate(
        {
            "name": "test",
            "input": {"url": "rows.parquet"},
            "request": {"model": "gpt-6-luna", "user": "{{ text }}"},
            "output": {"url": "memory://out"},
        }
    )


def moment(**changes: object) -> Moment:
    """Six hours before the deadline, with 3,600 rows that take an hour online."""
    values: dict[str, object] = {
        "now": 0.0,
        "deadline": 21_600.0,
        "left": 3_600,
        "rows_per_second": 1.0,
        "look_seconds": 60.0,
        "has_batches": True,
    }
    return Moment(**{**values, **changes})  # pyright: ignore[reportArgumentType] - the values have the fields' types


LAST = 21_600.0 - 3_600.0 * MARGIN - START_SECONDS - CANCEL_SECONDS - 120.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, "submit", id="plenty-of-time"),
        pytest.param({"now": LAST - LEAST_BATCH_SECONDS + 1}, "wait", id="too-late-for-more-batches"),
        pytest.param({"now": LAST - LEAST_BATCH_SECONDS + 1, "has_batches": False}, "move", id="nothing-to-wait-for"),
        pytest.param({"now": LAST + 1}, "move", id="the-last-moment"),
        pytest.param({"now": LAST + 1, "left": 1_800}, "submit", id="half-is-answered-meanwhile"),
        pytest.param({"now": 21_600.0, "left": 0}, "wait", id="results-are-being-written"),
        pytest.param(
            {"now": 21_600.0, "left": 0, "has_batches": False}, "move", id="nothing-is-left-after-the-deadline"
        ),
        pytest.param({"rows_per_second": 0.0}, "move", id="nobody-knows-how-fast-online-is"),
    ],
)
def test_rows_stay_in_batches_until_the_last_moment(given: dict[str, object], expected: Step) -> None:
    assert next_step(moment(**given)) == expected
    assert move_at(moment()) == LAST


def test_online_alone_is_hopeless_only_where_it_takes_longer_without_any_margin() -> None:
    assert not is_hopeless(moment(now=18_000.0))
    assert is_hopeless(moment(now=18_001.0))


@pytest.mark.parametrize(
    ("rows", "seconds", "in_flight", "minutes", "expected"),
    [
        pytest.param(0, 1.0, 16, None, None, id="nothing-was-asked"),
        pytest.param(10, 2.0, 10, None, 5.0, id="as-fast-as-they-went"),
        pytest.param(4, 2.0, 16, None, 8.0, id="most-places-were-empty"),
        pytest.param(10, 0.1, 10, 1.0, 10 / 60, id="the-limit-a-minute-is-slower"),
    ],
)
def test_the_pace_is_that_of_the_first_rows_within_the_limits(
    rows: int, seconds: float, in_flight: int, minutes: float | None, expected: float | None
) -> None:
    assert seen_rate(rows, seconds, in_flight, minutes) == expected


def test_a_hundredth_of_the_rows_is_asked_first() -> None:
    assert [probe_rows(rows) for rows in (2, 100, 5_000, 1_000_000)] == [2, 4, 50, 200]


def test_a_run_is_done_in_time_whenever_online_alone_could_be(job: Job) -> None:
    late, feasible, by_batch = list[tuple[int, Behaviour, float]](), 0, 0
    for seed in range(SEEDS):
        like = behaviour(seed)
        world = run_in_time(like, job, str(seed), give_batches_up)
        took = world.now - 1_000_000.0
        assert len(world.answered) == like.rows
        assert world.paid <= ONLINE_PRICE * like.rows
        by_batch += world.paid < ONLINE_PRICE * like.rows * 9 / 10
        if like.online_alone + SPARE_SECONDS <= like.deadline:
            feasible += 1
            late += [(seed, like, took)] if took > like.deadline else []

    assert not late
    assert feasible > SEEDS * 3 / 4
    assert by_batch > SEEDS / 8
