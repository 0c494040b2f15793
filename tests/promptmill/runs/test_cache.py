"""Answers that outputs share: what was paid for once isn't asked again, whatever output asks for it."""

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import promptmill
from promptmill.cache.segments import segments
from promptmill.checkpoints.output_turn import Asking
from promptmill.errors import JobError
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.runs.cached_answers import take_cached
from promptmill.runs.run import FinishedRun
from promptmill.simulator import Simulator
from promptmill.standalone.answering import Alone
from promptmill.standalone.running import run_alone
from promptmill.storage import Storage
from tests.support.billing import assert_whole, billed
from tests.support.jobs import MakeJob, plan, plan_any
from tests.support.rows import write_rows

ROWS = 40


@pytest.fixture
def cache(tmp_path: Path) -> str:
    """The URL of a new cache."""
    return str(tmp_path / "cache")


async def run_whole(job: Any, credentials: Credentials, **options: Any) -> Manifest:
    """A run as the command carries it out without a Prefect server."""
    run = plan_any(job, credentials, **options)
    return (run if isinstance(run, FinishedRun) else await run_alone(run, Alone(Asking("a test")))).manifest


@pytest.mark.parametrize("first", [pytest.param("online", id="paid-online"), pytest.param("batch", id="paid-by-batch")])
@pytest.mark.parametrize(
    "second", [pytest.param("online", id="again-online"), pytest.param("batch", id="again-by-batch")]
)
async def test_a_second_output_over_the_same_rows_asks_nothing(
    first: str,
    second: str,
    make_job: MakeJob,
    credentials: Credentials,
    simulator: Simulator,
    cache: str,
    tmp_path: Path,
):
    simulator.configure(batch_seconds=0.2)
    jobs = [
        make_job(
            ROWS, cache=cache, output__url=str(tmp_path / f"out-{number}"), chunk_rows=size, batch__poll_seconds=0.05
        )
        for number, size in enumerate((7, 16))
    ]
    paid = await run_whole(jobs[0], credentials, mode=first)
    before = counts(simulator)
    free = await run_whole(jobs[1], credentials, mode=second)
    a, b = (pq.read_table(str(tmp_path / f"out-{number}")) for number in range(2))
    same = ["row_index", "text", "response", "label", "score", "llm_custom_id", "llm_model", "llm_finish_reason"]

    assert_whole(free, ROWS)
    assert counts(simulator) == before
    assert a.select(same) == b.select(same)
    assert b["llm_answered_by"].to_pylist() == a["llm_custom_id"].to_pylist()
    assert (paid.cached, free.cached, free.reused, free.requests_sent) == (0, ROWS, 0, 0)
    assert paid.cost_usd > 0
    assert (free.cost_usd, free.input_tokens, free.estimated_cost_usd) == (0, 0, 0)
    assert not list(Path(jobs[1].output.url, "_checkpoints", "rows").glob("cache-*"))


def counts(simulator: Simulator) -> tuple[int, int]:
    """Requests that the provider billed, online and by batch."""
    return billed(simulator, "default"), billed(simulator, "batch")


async def test_a_nightly_run_pays_only_for_what_is_new(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, cache: str, tmp_path: Path
):
    monday = await run_whole(make_job(ROWS, cache=cache, output__url=str(tmp_path / "monday")), credentials)
    job = make_job(ROWS + 10, cache=cache, output__url=str(tmp_path / "tuesday"))
    tuesday = await run_whole(job, credentials)

    assert (monday.requests_sent, tuesday.requests_sent, tuesday.cached) == (ROWS, 10, ROWS)
    assert billed(simulator, "default") == ROWS + 10
    assert tuesday.cost_usd < monday.cost_usd


async def test_only_what_was_paid_for_goes_into_the_cache_and_only_once(
    make_job: MakeJob, credentials: Credentials, cache: str, tmp_path: Path
):
    for name in "abc":
        await run_whole(make_job(ROWS, cache=cache, output__url=str(tmp_path / name)), credentials)

    assert len(segments(Storage(cache, None))) == 1
    assert entries(cache).num_rows == ROWS


def entries(cache: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(f"{cache}/{name}") for name in segments(Storage(cache, None)))


async def test_equal_texts_are_one_entry_and_are_answered_by_it(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, cache: str, tmp_path: Path
):
    source = write_rows(tmp_path / "same.parquet", [f"text {number % 4}" for number in range(ROWS)])
    jobs = [make_job(ROWS, cache=cache, input__url=str(source), output__url=str(tmp_path / name)) for name in "ab"]
    for job in jobs:
        manifest = await run_whole(job, credentials)

    assert (entries(cache).num_rows, billed(simulator, "default")) == (4, 4)
    assert (manifest.cached, manifest.shared, manifest.succeeded) == (4, ROWS - 4, ROWS)


async def test_a_run_that_was_cut_short_goes_on_with_what_it_took(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, cache: str, tmp_path: Path
):
    await run_whole(make_job(ROWS, cache=cache, output__url=str(tmp_path / "a")), credentials)
    job = make_job(ROWS + 5, cache=cache, output__url=str(tmp_path / "b"))
    run = plan(job, credentials)
    assert take_cached(run.prepared.store, run.preflight) == ROWS
    for path in Path(cache).iterdir():
        path.unlink()
    manifest = await run_whole(job, credentials)

    assert (manifest.cached, manifest.requests_sent, billed(simulator, "default")) == (ROWS, 5, ROWS + 5)


async def test_each_row_that_wants_its_own_answer_gets_it(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, cache: str, tmp_path: Path
):
    for name in "ab":
        job = make_job(ROWS, cache=cache, output__url=str(tmp_path / name), request__answer_each_row=True)
        manifest = await run_whole(job, credentials)

    assert (manifest.cached, billed(simulator, "default")) == (0, 2 * ROWS)


async def test_another_provider_and_answers_that_are_too_old_count_as_none(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, cache: str, tmp_path: Path
):
    await run_whole(make_job(ROWS, cache=cache, output__url=str(tmp_path / "a")), credentials)
    elsewhere = Credentials(credentials.api_key, simulator.base_url.replace("127.0.0.1", "localhost"))
    other = plan(make_job(ROWS, cache=cache, output__url=str(tmp_path / "b")), elsewhere)
    await asyncio.sleep(0.01)
    old = plan(make_job(ROWS, cache=cache, output__url=str(tmp_path / "c"), cache_max_age_days=1e-9), credentials)
    young = plan(make_job(ROWS, cache=cache, output__url=str(tmp_path / "c"), cache_max_age_days=1), credentials)

    assert [run.preflight.plan.cached for run in (other, old, young)] == [0, 0, ROWS]


async def test_the_worker_may_name_the_cache_and_a_job_may_do_without(
    make_job: MakeJob, credentials: Credentials, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PROMPTMILL_CACHE_URL", cache)
    await run_whole(make_job(ROWS, output__url=str(tmp_path / "a")), credentials)
    taken = plan(make_job(ROWS, output__url=str(tmp_path / "b")), credentials)
    without = plan(make_job(ROWS, output__url=str(tmp_path / "b"), cache=""), credentials)

    assert (taken.preflight.plan.cached, without.preflight.cached) == (ROWS, None)


@pytest.mark.parametrize("damage", ["torn", "foreign", "pickle", "empty", "flipped", "other-answers"])
async def test_a_damaged_segment_costs_money_and_no_answer(
    damage: str,
    make_job: MakeJob,
    credentials: Credentials,
    simulator: Simulator,
    cache: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    await run_whole(make_job(ROWS, cache=cache, output__url=str(tmp_path / "a")), credentials)
    [path] = Path(cache).iterdir()
    path.write_bytes(damaged(path.read_bytes(), damage))
    manifest = await run_whole(make_job(ROWS, cache=cache, output__url=str(tmp_path / "b")), credentials)
    a, b = (pq.read_table(str(tmp_path / name)) for name in "ab")

    assert_whole(manifest, ROWS)
    assert (manifest.cached, billed(simulator, "default")) == (0, 2 * ROWS)
    assert a["response"] == b["response"]
    assert path.name in caplog.text


def damaged(data: bytes, how: str) -> bytes:
    """A segment after something happened to it."""
    if how == "other-answers":  # a sound file in which each request has the next one's answer
        table = pq.read_table(pa.BufferReader(data))
        moved = table["response"].take(pa.array([*range(1, table.num_rows), 0]))
        sink = pa.BufferOutputStream()
        pq.write_table(table.set_column(table.column_names.index("response"), table.field("response"), moved), sink)
        return sink.getvalue().to_pybytes()
    middle = len(data) // 2
    return {
        "torn": data[:middle],
        "foreign": b"PAR1" * 100,
        "pickle": b"\x80\x04cos\nsystem\n(S'touch /tmp/never'\ntR.",
        "empty": b"",
        "flipped": bytes([*data[:40], *(255 - byte for byte in data[40:middle]), *data[middle:]]),
    }[how]


async def test_a_cache_that_is_away_costs_no_run(
    make_job: MakeJob, credentials: Credentials, cache: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    Path(cache).write_text("a file where a folder should be")
    manifest = await run_whole(make_job(ROWS, cache=cache, output__url=str(tmp_path / "a")), credentials)

    assert_whole(manifest, ROWS)
    assert "can't be written" in caplog.text


def test_a_cache_that_nobody_can_open_is_refused_before_anything_is_paid(make_job: MakeJob, credentials: Credentials):
    with pytest.raises(JobError, match=r"the cache 'nothing://x' can't be opened"):
        plan(make_job(ROWS, cache="nothing://x"), credentials)


async def test_ten_thousand_rows_with_two_thousand_texts_are_no_request_for_a_second_output(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, cache: str, tmp_path: Path
):
    source = write_rows(tmp_path / "many.parquet", [f"text {number % 2_000}" for number in range(10_000)])
    for name in "ab":
        places = {"cache": cache, "input__url": str(source), "input__limit": None, "output__url": str(tmp_path / name)}
        manifest = await run_whole(make_job(1, chunk_rows=500, checkpoint_rows=100, **places), credentials)

    assert billed(simulator, "default") == 2_000
    assert (manifest.cached, manifest.shared, manifest.requests_sent) == (2_000, 8_000, 0)
    assert len(promptmill.read(str(tmp_path / "b"))) == 10_000
