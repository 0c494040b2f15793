"""What forbids a run to ask before all rows are planned, and how large a chunk is where the job doesn't say."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.planning.chunk_size import LEAST_ROWS, MOST_BYTES, USUAL_ROWS, Workload, choose_chunk_rows
from promptmill.planning.head import MOST_UNPLANNED, describe_head, why_whole
from tests.support.jobs import MakeJob

NOTHING: dict[str, Any] = {"is_capped": False, "is_cached": False}


@pytest.mark.parametrize(
    ("changes", "facts", "reason"),
    [
        pytest.param({}, {"is_capped": True}, "budget_usd", id="budget"),
        pytest.param({"approve_above_usd": "1"}, {}, "approve_above_usd", id="approval"),
        pytest.param({"input__id_column": "text"}, {}, "input.id_column", id="ids"),
        pytest.param({"output__partition_by": ["text"]}, {}, "output.partition_by", id="folders"),
    ],
)
def test_what_the_whole_plan_tells_before_money_is_spent_waits_unless_the_job_says_head(
    make_job: MakeJob, changes: dict[str, Any], facts: dict[str, Any], reason: str
):
    waits = why_whole(make_job(3, **changes), "online", **(NOTHING | facts))

    assert waits is not None and waits.is_choice
    assert reason in waits.reason
    assert "plan: head" in waits.sentence
    assert why_whole(make_job(3, plan="head", **changes), "online", **(NOTHING | facts)) is None


@pytest.mark.parametrize(
    ("changes", "mode", "facts", "reason"),
    [
        pytest.param({}, "batch", {}, "batches", id="batch"),
        pytest.param({"shards": 2}, "online", {}, "shards", id="shards"),
        pytest.param({"processes": 2}, "online", {}, "processes", id="processes"),
        pytest.param({"processes": "auto"}, "online", {}, "processes", id="processes-if-worth-it"),
        pytest.param({"deadline": "6h"}, "online", {}, "deadline", id="deadline"),
        pytest.param({}, "online", {"is_cached": True}, "cache", id="cache"),
        pytest.param({}, "online", {"is_drawn": True}, "sample", id="sample"),
        pytest.param({}, "online", {"unplanned": MOST_UNPLANNED + 1}, "kept plan", id="answers-without-a-plan"),
    ],
)
def test_what_needs_the_whole_plan_waits_whatever_the_job_says(
    make_job: MakeJob, changes: dict[str, Any], mode: str, facts: dict[str, Any], reason: str
):
    waits = why_whole(make_job(3, plan="head", **changes), mode, **(NOTHING | facts))

    assert waits is not None and not waits.is_choice
    assert reason in waits.reason


def test_a_plain_job_asks_at_once_and_a_job_may_refuse_to(make_job: MakeJob):
    assert why_whole(make_job(3), "online", **NOTHING) is None
    assert why_whole(make_job(3), "online", unplanned=MOST_UNPLANNED, **NOTHING) is None
    waits = why_whole(make_job(3, plan="whole"), "online", **NOTHING)
    assert waits is not None and "plan: whole" in waits.reason


def test_a_head_says_what_is_checked_later(make_job: MakeJob):
    told = describe_head(make_job(3, plan="head", input__id_column="text"), 2_000)

    assert "2,000" in told
    assert "whether an id repeats" in told


WORK = Workload(rows=1_000, shards=1, request_bytes=1_000, rows_a_second=None)


@pytest.mark.parametrize(
    ("work", "rows"),
    [
        pytest.param({}, USUAL_ROWS, id="nothing-is-known"),
        pytest.param({"rows": 25_000}, USUAL_ROWS, id="nothing-is-known-of-some-thousand-rows"),
        pytest.param({"rows": 80_000}, 1_600, id="fifty-chunks-of-more"),
        pytest.param({"rows": 1_000_000}, 2_000, id="a-minute-of-rows-that-take-two-seconds"),
        pytest.param({"rows_a_second": 20.0}, 1_200, id="a-minute"),
        pytest.param({"rows_a_second": 0.5}, LEAST_ROWS, id="slow"),
        pytest.param({"rows_a_second": 5_000.0}, 16_777, id="fast-but-for-the-memory"),
        pytest.param({"rows_a_second": 5_000.0, "request_bytes": 300}, 20_000, id="fast"),
        pytest.param({"rows": 10_000_000}, 2_000, id="ten-million-rows"),
        pytest.param({"rows": 10_000_000, "rows_a_second": 10.0}, 2_000, id="ten-million-slow-rows"),
        pytest.param({"request_bytes": 200_000}, 83, id="large-rows"),
        pytest.param({"rows_a_second": 100.0, "shards": 4, "rows": 100_000}, 1_500, id="shards-share-the-rate"),
        pytest.param({"rows_a_second": 900.0, "shards": 4, "rows": 100_000}, 3_125, id="enough-chunks-for-shards"),
    ],
)
def test_a_chunk_has_as_many_rows_as_a_minute_answers_within_bounds(work: dict[str, Any], rows: int):
    values = {name: getattr(WORK, name) for name in ("rows", "shards", "request_bytes", "rows_a_second")}

    assert choose_chunk_rows(60, Workload(**(values | work))) == rows


@given(
    rows=st.integers(1, 10_000_000),
    size=st.floats(1, 8_000),
    rate=st.none() | st.floats(0.001, 1e6),
    shards=st.sampled_from([1, 2, 50]),
    seconds=st.floats(0.1, 86_400),
)
def test_ten_million_rows_are_at_most_five_thousand_chunks_that_fit_in_memory(
    rows: int, size: float, rate: float | None, shards: int, seconds: float
):
    chosen = choose_chunk_rows(seconds, Workload(rows, shards, size, rate))

    assert math.ceil(rows / chosen) <= 5_000
    assert chosen * size <= MOST_BYTES
    assert 1 <= chosen <= 20_000
