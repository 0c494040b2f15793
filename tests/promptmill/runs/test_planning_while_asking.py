"""A run that asks while it plans finds, answers and publishes what a run that plans all rows first does."""

import asyncio
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.dataset.dataset import Dataset
from promptmill.errors import InputWrong, Interrupted
from promptmill.job.spec import Job, Pricing
from promptmill.output.reading import read
from promptmill.planning.kept_plan import find_plan
from promptmill.provider.transport import Credentials
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.plain import run_plainly
from promptmill.runs.run import PendingRun, answering
from promptmill.seals import seal
from promptmill.simulator import Simulator, SimulatorOptions
from tests.support.examples import examples
from tests.support.jobs import MakeJob, plan

_NUMBERS = count()
LINES = st.lists(st.sampled_from(["a", "b", "c", "d", None, "torn"]), min_size=4, max_size=24)


def _job(folder: Path, lines: list[str | None], make_job: MakeJob, **changes: Any) -> Job:
    """A job over lines of JSON: equal texts, texts that can't be rendered (None), and lines that can't be read (torn)."""
    file = folder / "rows.jsonl"
    texts = [
        '{"text": ' if line == "torn" else json.dumps({"id": number, "text": line}) for number, line in enumerate(lines)
    ]
    file.write_text("\n".join([*texts, json.dumps({"id": -1, "text": "last"})]))
    source = {"url": str(file), "on_bad_row": "skip", "types": {"id": "int64"}}
    output = {"url": str(folder / f"out-{next(_NUMBERS)}")}
    values = {"input": source, "output": output, "max_failure_ratio": 1, "chunk_rows": 3, "checkpoint_rows": 1}
    return make_job(1, **{**values, "limits": {"max_concurrency": 2}, **changes})


def _plan(job: Job, credentials: Credentials, *, is_head: bool, **options: Any) -> PendingRun:
    run = plan(job, credentials, head_rows=1, is_whole=not is_head, **options)
    assert (run.preflight.growth is not None) == is_head
    return run


async def _killed(run: PendingRun, after: int) -> None:
    """Answer some rows, then end."""
    with pytest.raises(Interrupted):
        async with answering(run) as engine:

            async def end() -> None:
                while engine.progress.done < after:
                    await asyncio.sleep(0.001)
                engine.stop.interrupt(Interrupted())

            ending = asyncio.create_task(end())
            try:
                await drive_chunks(engine, _nothing, complete_chunk)
                engine.stop.interrupt(Interrupted())
                raise Interrupted
            finally:
                ending.cancel()


async def _nothing(*_: object) -> None:
    """Nobody keeps a record of chunks that are reused."""


def _published(job: Job) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """What of an output doesn't depend on time: its rows, its failures, and the names of its chunks."""
    late = {"llm_latency_seconds", "llm_response_id"}
    folder = Path(job.output.url)
    tables = [
        [
            {name: value for name, value in row.items() if name not in late}
            for file in sorted(folder.glob(f"{place}part-*.parquet"))
            for row in pq.read_table(file).to_pylist()
        ]
        for place in ("", "_failures/")
    ]
    return tables[0], tables[1], sorted(file.name for file in (folder / "_checkpoints").glob("*.parquet"))


@settings(max_examples=examples(12))
@given(
    lines=LINES,
    kills=st.lists(st.tuples(st.booleans(), st.integers(1, 8)), max_size=2),
    has_ids=st.booleans(),
    answers_each=st.booleans(),
)
def test_a_run_that_asks_while_it_plans_publishes_what_a_run_that_plans_first_does(
    lines: list[str | None], kills: list[tuple[bool, int]], has_ids: bool, answers_each: bool
):
    def make_job(_: int, **changes: Any) -> Job:
        request = {
            "model": "gpt-6-luna",
            "user": "Label: {{ text }}",
            "answer_each_row": answers_each,
            "parameters": {"max_completion_tokens": 8},
        }
        return Job.model_validate({"name": "test", "request": request, **changes})

    changes = {"plan": "head"} if has_ids else {}
    folder = Path(tempfile.mkdtemp())
    try:
        with Simulator(SimulatorOptions()) as simulator:
            credentials = Credentials(api_key="test", base_url=simulator.base_url)
            whole, head = (_job(folder, lines, make_job, **changes) for _ in range(2))
            if has_ids:
                whole, head = (
                    job.model_copy(update={"input": job.input.model_copy(update={"id_column": "id"})})
                    for job in (whole, head)
                )
            first = asyncio.run(run_plainly(_plan(whole, credentials, is_head=False))).manifest
            for is_head, after in kills:
                asyncio.run(_killed(_plan(head, credentials, is_head=is_head), after))
            second = asyncio.run(run_plainly(_plan(head, credentials, is_head=True))).manifest

            assert _published(head) == _published(whole)
            for name in ("rows", "succeeded", "failed", "shared", "estimated_cost_usd", "cost_usd"):
                assert getattr(second, name) == getattr(first, name)
    finally:
        shutil.rmtree(folder)


class _Waiting:
    """Rows of which the last are given only once a request has left."""

    def __init__(self, simulator: Simulator, table: pa.Table) -> None:
        self._table = table
        self.schema, self.notes, self.has_marks, self.rows = table.schema, (), False, table.num_rows
        self._simulator = simulator
        self.asked_by_then: int | None = None  # requests, when the last rows were given first

    def blocks(self, columns: list[str], start: int, tries: Collection[str] = ()) -> Iterator[pa.Table]:
        del tries
        head = self.rows // 2
        yield self._table.select(columns).slice(start, max(0, head - start))
        for _ in range(500):
            asked = self._simulator.ledger()["totals"]["requests"]
            if asked:
                break
            threading.Event().wait(0.01)
        self.asked_by_then = asked if self.asked_by_then is None else self.asked_by_then
        yield self._table.select(columns).slice(max(head, start))


async def test_the_first_request_leaves_before_the_last_row_is_read(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job, source = make_job(1), _Waiting(simulator, pa.table({"text": [f"row {number}" for number in range(40)]}))
    dataset = Dataset(source, job.input, (), "rows", is_held=True)
    run = _plan(job, credentials, is_head=True, dataset=dataset)
    planned, estimated = run.preflight.plan.rows, run.preflight.estimate.rows

    manifest = (await run_plainly(run)).manifest

    assert (planned, estimated) == (10, 40)
    assert (manifest.rows, manifest.succeeded) == (40, 40)
    assert source.asked_by_then


async def test_an_id_that_repeats_late_ends_the_run_and_keeps_its_answers(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(1, plan="head", input__id_column="id")
    texts = [f"text {number}" for number in range(40)]

    def planned(ids: list[int]) -> PendingRun:
        source = _Waiting(simulator, pa.table({"id": ids, "text": texts}))
        dataset = Dataset(source, job.input, (), "rows", is_held=True)
        return _plan(job, credentials, is_head=True, dataset=dataset)

    with pytest.raises(
        InputWrong, match=r"rows 0 and 39 have the same 'id'.*every answer that it got is kept"
    ) as error:
        await run_plainly(planned([*range(39), 0]))

    asked = simulator.ledger()["totals"]["requests"]
    assert error.value.exit_code == 2
    assert 0 < asked <= 40
    manifest = (await run_plainly(planned([*range(40)]))).manifest
    assert (manifest.succeeded, manifest.reused) == (40, asked)
    assert simulator.ledger()["totals"]["requests"] == 40


async def test_a_request_above_the_limit_late_in_the_input_ends_the_run(
    make_job: MakeJob, credentials: Credentials
) -> None:
    job = make_job(["short"] * 30 + ["long " * 9_000], limits={"tokens_per_minute": 5_000})

    with pytest.raises(InputWrong, match="takes .* tokens; the limit is 5,000"):
        await run_plainly(_plan(job, credentials, is_head=True))


async def test_the_next_run_of_the_same_rows_takes_the_plan_that_was_kept(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    texts: list[str | None] = [f"text {number % 3_000}" for number in range(11_000)]
    job = make_job(texts, chunk_rows=None)
    run = _plan(job, credentials, is_head=True)
    growth = run.preflight.growth
    assert growth is not None
    await asyncio.to_thread(growth.plan_all, lambda: None)
    kept = Path(job.output.url, "_checkpoints", "plan.json")

    again = plan(job, credentials, is_whole=True).preflight
    fresh = plan(job, credentials, is_whole=True, is_a_look=True).preflight

    assert (again.growth, again.plan.first_request) == (None, None)
    assert again.plan.chunks == fresh.plan.chunks == growth.plan.chunks
    assert (again.plan.shared, again.plan.largest, again.estimate) == (8_000, fresh.plan.largest, fresh.estimate)
    changed = make_job(texts, chunk_rows=None, request__user="Other: {{ text }}")
    assert plan(changed, credentials, head_rows=1).preflight.growth is not None
    kept.write_bytes(kept.read_bytes().replace(b'"largest":[', b'"largest":[1'))
    assert plan(job, credentials, head_rows=1).preflight.growth is not None


async def test_a_plan_that_somebody_else_sealed_is_not_taken(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job([f"text {number}" for number in range(11_000)], chunk_rows=None)
    growth = _plan(job, credentials, is_head=True).preflight.growth
    assert growth is not None
    await asyncio.to_thread(growth.plan_all, lambda: None)
    kept = Path(job.output.url, "_checkpoints", "plan.json")
    assert plan(job, credentials, head_rows=1).preflight.growth is None

    values = json.loads(kept.read_bytes())
    values["keys"][0], values["keys"][1] = values["keys"][1], values["keys"][0]
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("PREFECT_HOME", str(tmp_path / "another-home"))
        kept.write_text(json.dumps({**values, "seal": seal({**values, "seal": ""})}))

    assert plan(job, credentials, head_rows=1).preflight.growth is not None


async def test_no_plan_is_kept_of_rows_that_may_be_others_by_now(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job([f"text {number}" for number in range(11_000)], chunk_rows=None)
    kept, file = Path(job.output.url, "_checkpoints", "plan.json"), Path(job.input.urls[0])
    rows, times = file.read_bytes(), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    run = _plan(job, credentials, is_head=True)
    growth = run.preflight.growth
    assert growth is not None
    file.write_bytes(rows)
    os.utime(file, ns=(times[0], times[1] + 1_000_000_000))
    await asyncio.to_thread(growth.plan_all, lambda: None)
    os.utime(file, ns=times)  # the input is again what the plan was to be of
    assert not kept.exists()

    prepared = plan(job, credentials, is_whole=True).prepared
    assert kept.exists()
    assert find_plan(prepared, 500) is not None
    prepared.dataset.files = tuple(replace(file, version="") for file in prepared.dataset.files)
    assert find_plan(prepared, 500) is None  # nothing tells whether the file has other rows now
    prices = Pricing.model_validate({"input_per_mtok": 1, "output_per_mtok": 1})
    dear = job.model_copy(update={"pricing": prices})
    assert plan(dear, credentials, head_rows=1).preflight.growth is not None  # its model may read more, or less


async def test_an_output_keeps_the_size_of_its_chunks(make_job: MakeJob, credentials: Credentials) -> None:
    limits = {"requests_per_minute": 60 * 5}
    job = make_job(700, chunk_rows=None, limits=limits)
    folder = Path(job.output.url, "_checkpoints")
    folder.mkdir(parents=True)
    sizes = [chunk.rows for chunk in plan(job, credentials).preflight.plan.chunks]
    Path(folder, "chunk_rows.json").write_text(
        json.dumps({"job_digest": plan(job, credentials).prepared.digest, "chunk_rows": 250})
    )
    kept = [chunk.rows for chunk in plan(job, credentials).preflight.plan.chunks]
    Path(folder, "chunk_rows.json").unlink()
    for number in range(70):
        Path(folder, f"{number:032x}.parquet").write_bytes(b"")
    older = [chunk.rows for chunk in plan(job, credentials, is_whole=True).preflight.plan.chunks]

    assert (sizes, kept, older) == ([300, 300, 100], [250, 250, 200], [500, 200])
    assert [chunk.rows for chunk in plan(make_job(25), credentials).preflight.plan.chunks] == [10, 10, 5]


async def test_rows_of_many_bytes_make_small_chunks(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    large = (f"{number} {'x' * 400_000}" for number in range(100))
    texts: list[str | None] = [*["short"] * 300, *large]
    job = make_job(texts, chunk_rows=None, request__user="{{ text[:20] }}")
    run = plan(job, credentials)
    chunks = run.preflight.plan.chunks
    sizes = [sum(len(text or "") for text in texts[chunk.start : chunk.start + chunk.rows]) for chunk in chunks]

    manifest = (await run_plainly(run)).manifest

    assert max(sizes) <= 16 << 20
    assert (manifest.succeeded, len(read(job.output.url)), len(chunks) < 10) == (400, 400, True)
