"""Runs over the wire, without Prefect: every row ends in one place, nothing is paid for twice."""

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import promptmill
from promptmill.errors import (
    BudgetExhausted,
    DatasetError,
    JobError,
    OutputError,
    ProviderRefused,
    StorageFailed,
    TooManyFailures,
)
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.runs.plain import run_plainly
from promptmill.runs.run import Planning, answering, plan_pending_run
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tests.support.jobs import TODAY, MakeJob, carry_out, plan
from tests.support.rows import write_rows


def texts(job: Job) -> list[str]:
    """The texts that were answered, in the order of the output."""
    return promptmill.read(job.output.url)["text"].tolist()


def reconcile(job: Job, manifest: Manifest) -> None:
    """Every row is in exactly one of the two outputs, in input order, and the figures add up."""
    answers, failures = promptmill.read(job.output.url), promptmill.read_failures(job.output.url)
    rows = pq.read_table(job.input.urls[0])
    assert manifest.rows == rows.num_rows == len(answers) + len(failures)
    assert sorted([*answers["row_index"], *failures["row_index"]]) == list(range(rows.num_rows))
    assert list(answers["row_index"]) == sorted(answers["row_index"])
    ids = [*answers["llm_custom_id"], *failures["llm_custom_id"]]
    assert len(set(ids)) == len(ids)
    assert (manifest.succeeded, manifest.failed) == (len(answers), len(failures))


async def test_every_row_is_answered_in_input_order_with_typed_columns(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(45)

    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    frame = promptmill.read(job.output.url)
    assert texts(job) == [f"text number {number}" for number in range(45)]
    assert set(frame["label"]) <= {"good", "bad"}
    assert frame["score"].dtype == "float64"
    assert manifest.requests_sent == simulator.ledger()["totals"]["requests"] == 45
    assert sum(frame["llm_cost_usd"]) == manifest.cost_usd > 0
    assert manifest.input_tokens == simulator.ledger()["totals"]["input_tokens"]


async def test_a_row_longer_than_the_job_allows_fails_unsent_and_is_answered_once_it_is_allowed(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(12, request={**make_job(1).request.model_dump(), "max_input_tokens": 1}, max_failure_ratio=1)
    short = await carry_out(job, credentials)
    wide = make_job(12)

    assert simulator.ledger()["totals"]["requests"] == 0
    assert (short.failures_by_kind, short.cost_usd) == ({"context_length_exceeded": 12}, 0)
    assert set(promptmill.read_failures(job.output.url)["llm_attempts"]) == {0}

    manifest = await carry_out(wide, credentials, retry_failed=True)

    assert (manifest.succeeded, manifest.job_digest) == (12, short.job_digest)
    reconcile(wide, manifest)


async def test_reasoning_is_counted_and_answers_of_unknown_shape_are_shown_in_the_report(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(reasoning_tokens=7, garbage=0.5)
    job = make_job(12, max_failure_ratio=1, request={**make_job(1).request.model_dump(), "parameters": {}})

    manifest = await carry_out(job, credentials)

    answered = promptmill.read(job.output.url)
    page = Path(job.output.url, "_report.html").read_text()
    assert manifest.reasoning_tokens >= sum(answered["llm_reasoning_tokens"]) == 7 * len(answered) > 0
    assert f"{manifest.reasoning_tokens} of them reasoning" in page
    assert "shape" in page
    assert "the answer can" in page


async def test_a_run_leaves_a_finished_output_alone(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(20)
    first = await carry_out(job, credentials)
    before = {path: path.stat().st_mtime_ns for path in Path(job.output.url).glob("*.parquet")}

    again = await carry_out(job, credentials)

    assert simulator.ledger()["totals"]["requests"] == 20
    assert (again.requests_sent, again.reused, again.cost_usd) == (0, 20, first.cost_usd)
    assert before == {path: path.stat().st_mtime_ns for path in Path(job.output.url).glob("*.parquet")}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"chunk_rows": 7}, id="chunk-rows"),
        pytest.param({"chunks_in_flight": 1, "checkpoint_rows": 1}, id="bounds"),
        pytest.param({"limits": {"max_concurrency": 3, "requests_per_minute": 60_000}}, id="limits"),
        pytest.param({"budget_usd": "5", "max_failure_ratio": 0.5}, id="budget"),
        pytest.param({"output__part_bytes": 5_000}, id="parts"),
    ],
)
async def test_a_change_outside_the_request_keeps_every_answer(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, changes: dict[str, Any]
) -> None:
    await carry_out(make_job(30), credentials)
    job = make_job(30, **changes)
    Path(job.output.url, "_manifest.json").unlink()

    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    assert simulator.ledger()["totals"]["requests"] == 30
    assert manifest.reused == 30


@pytest.mark.parametrize(
    "request_changes",
    [
        pytest.param({"user": "Say: {{ text }}"}, id="prompt"),
        pytest.param({"model": "gpt-5.6-luna"}, id="model"),
        pytest.param({"parameters": {"temperature": 1}}, id="parameters"),
        pytest.param({"response_schema": None}, id="schema"),
    ],
)
async def test_a_changed_request_keeps_no_answer_and_needs_overwrite(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, request_changes: dict[str, Any]
) -> None:
    job = make_job(12)
    await carry_out(job, credentials)
    changed = make_job(12, request={**job.request.model_dump(), **request_changes})

    with pytest.raises(OutputError, match=f"request.{next(iter(request_changes))}"):
        await carry_out(changed, credentials)
    manifest = await carry_out(changed, credentials, overwrite=True)

    reconcile(changed, manifest)
    assert simulator.ledger()["totals"]["requests"] == 24


async def test_a_grown_dataset_pays_for_its_new_rows_only(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    await carry_out(make_job(25), credentials)
    job = make_job(60)

    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    assert simulator.ledger()["totals"]["requests"] == 60
    assert (manifest.reused, manifest.requests_sent) == (25, 35)
    assert len(list(Path(job.output.url).glob("part-*.parquet"))) == len(manifest.parts)


async def test_rows_inserted_before_others_keep_the_others_answers_where_rows_have_ids(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
) -> None:
    job = make_job(20, input={"url": str(tmp_path / "rows.parquet"), "id_column": "id"})
    write_rows(tmp_path / "rows.parquet", [f"text {number}" for number in range(20)], first_id=3)
    await carry_out(job, credentials)
    write_rows(tmp_path / "rows.parquet", ["new a", "new b", "new c", *(f"text {number}" for number in range(20))])

    manifest = await carry_out(job, credentials)

    assert simulator.ledger()["totals"]["requests"] == 23
    assert (manifest.rows, manifest.reused) == (23, 20)


async def test_no_row_is_lost_to_a_providers_faults(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(error_500=0.1, reset=0.05, garbage=0.05, rate_limited=0.02, retry_after_seconds=0.05)
    job = make_job(200, chunk_rows=50)

    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    assert manifest.failed == 0
    assert manifest.attempts > 200
    assert simulator.ledger()["bodies_billed_more_than_once"] == 0


POISON = {
    "POISON-400": "invalid_request",
    "POISON-LONG": "context_length_exceeded",
    "POISON-FILTER": "content_filter",
    "POISON-REFUSAL": "refusal",
    "POISON-TRUNCATE": "truncated",
    "POISON-SCHEMA": "invalid_response",
    "POISON-500": "server_error",
    "POISON-HANG": "timeout",
}


@pytest.mark.parametrize("endpoint", ["chat.completions", "responses"])
async def test_a_poisoned_row_fails_alone_with_its_reason(
    make_job: MakeJob, credentials: Credentials, endpoint: str
) -> None:
    rows: list[str | None] = [f"fine {number}" for number in range(30)]
    for place, word in enumerate(POISON):
        rows[3 * place] = f"{word} {place}"
    rows[29] = None
    limit = "max_completion_tokens" if endpoint == "chat.completions" else "max_output_tokens"
    job = make_job(
        rows,
        request={**make_job(1).request.model_dump(), "endpoint": endpoint, "parameters": {limit: 64}},
        retry={"max_attempts": 2, "request_timeout_seconds": 0.5},
    )
    write_rows(Path(job.input.urls[0]), rows)

    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    failures = promptmill.read_failures(job.output.url)
    found = dict(zip(failures["row_index"], failures["llm_error_kind"], strict=True))
    assert found == {3 * place: kind for place, kind in enumerate(POISON.values())} | {29: "template_error"}
    assert manifest.failures_by_kind == Counter(found.values())
    attempts = dict(zip(failures["llm_error_kind"], failures["llm_attempts"], strict=True))
    assert attempts["invalid_request"] == 1
    assert attempts["invalid_response"] == attempts["server_error"] == attempts["timeout"] == 2
    assert attempts["template_error"] == 0


@pytest.mark.parametrize(
    ("scope", "asked"), [pytest.param("passing", 1), pytest.param("none", 0), pytest.param("all", 2)]
)
async def test_a_new_run_asks_again_for_the_failures_that_the_job_names(
    scope: str, asked: int, make_job: MakeJob, credentials: Credentials
) -> None:
    texts = ["a", "POISON-TRUNCATE", "b", "c", "POISON-500"]
    job = make_job(texts, retry={"max_attempts": 1}, retry_failed=scope, max_failure_ratio=1.0)
    first = await carry_out(job, credentials)
    again = await carry_out(job, credentials)

    assert (first.failures_by_kind, again.failures_by_kind) == ({"truncated": 1, "server_error": 1},) * 2
    assert again.requests_sent == asked


async def test_a_row_that_failed_for_a_passing_reason_is_answered_by_the_same_command(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(["POISON-TRUNCATE", *"abcdefgh"], retry={"max_attempts": 1}, max_failure_ratio=1.0)
    simulator.configure(error_500=0.5)
    first = await carry_out(job, credentials)
    simulator.configure(error_500=0.0)
    healed = await carry_out(job, credentials)
    finished = await carry_out(job, credentials)

    assert first.failures_by_kind["server_error"] > 0
    assert healed.failures_by_kind == {"truncated": 1}
    assert healed.requests_sent >= first.failures_by_kind["server_error"]
    assert finished.requests_sent == 0


async def test_failed_rows_stay_failed_until_retry_failed(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(["a", "POISON-TRUNCATE", "b", "c", "POISON-500"], retry={"max_attempts": 1}, retry_failed="none")
    first = await carry_out(job, credentials)
    sent = simulator.ledger()["counters"]["attempts"]

    unchanged = await carry_out(job, credentials)
    retried = await carry_out(job, credentials, retry_failed=True)

    assert (first.failed, unchanged.failed, retried.failed) == (2, 2, 2)
    assert simulator.ledger()["counters"]["attempts"] == sent + 2
    assert retried.requests_sent == 2
    assert retried.cost_usd > first.cost_usd  # the cut answer was paid for again


async def test_a_run_without_credit_stops_at_once_and_the_next_run_goes_on(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(quota_after=17)
    job = make_job(100, limits={"max_concurrency": 5})

    with pytest.raises(ProviderRefused, match="no quota left"):
        await carry_out(job, credentials)
    assert simulator.ledger()["counters"]["attempts"] < 40
    simulator.configure(quota_after=None)
    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    assert simulator.ledger()["totals"]["requests"] == 100


async def test_a_refused_key_stops_the_run_and_appears_nowhere(make_job: MakeJob, simulator: Simulator) -> None:
    simulator.configure(api_key="right")

    with pytest.raises(ProviderRefused) as caught:
        await carry_out(make_job(50), Credentials(api_key="wr0ng-secret", base_url=simulator.base_url))

    assert "401" in str(caught.value)
    assert "wr0ng-secret" not in str(caught.value)


async def test_the_budget_is_a_hard_cap_over_all_runs_and_raising_it_resumes(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    probe = await carry_out(make_job(5, output={"url": "memory://probe"}), credentials)
    cap = probe.cost_usd * 6
    simulator.reset()
    job = make_job(100, budget_usd=str(cap))

    with pytest.raises(BudgetExhausted, match="budget_usd"):
        await carry_out(job, credentials)
    with pytest.raises(BudgetExhausted):
        await carry_out(job, credentials)
    half = simulator.ledger()["totals"]["requests"]
    manifest = await carry_out(make_job(100, budget_usd="10"), credentials)

    assert 0 < half < 100
    assert half * probe.cost_usd / 5 <= cap * Decimal("1.2")
    reconcile(job, manifest)
    assert simulator.ledger()["totals"]["requests"] == 100
    assert manifest.cost_usd == sum(promptmill.read(job.output.url)["llm_cost_usd"])


async def test_too_many_failures_stop_the_run_and_nothing_is_published(
    make_job: MakeJob, credentials: Credentials
) -> None:
    texts: list[str | None] = [f"POISON-400 {number}" if number % 4 == 0 else "fine" for number in range(400)]
    job = make_job(texts, max_failure_ratio=0.05)

    with pytest.raises(TooManyFailures, match=r"max_failure_ratio"):
        await carry_out(job, credentials)

    assert not Path(job.output.url, "_manifest.json").exists()
    with pytest.raises(OutputError):
        promptmill.read(job.output.url)


@pytest.mark.parametrize(
    ("rows", "failed", "ratio", "is_stopped"),
    [
        pytest.param(1, 1, 0.05, True, id="the-only-row"),
        pytest.param(20, 2, 0.05, True, id="a-tenth-of-few"),
        pytest.param(20, 1, 0.05, False, id="within-the-ratio"),
        pytest.param(3, 3, 1.0, False, id="all-of-them-allowed"),
    ],
)
async def test_a_run_with_too_many_failures_never_completes_however_few_rows_it_has(
    make_job: MakeJob, credentials: Credentials, rows: int, failed: int, ratio: float, is_stopped: bool
) -> None:
    texts: list[str | None] = [f"POISON-LONG {n}" if n < failed else f"fine {n}" for n in range(rows)]
    job = make_job(texts, max_failure_ratio=ratio)

    for _ in range(2):  # the same command again ends in the same way
        if is_stopped:
            with pytest.raises(TooManyFailures, match=f"{failed} of {rows} rows failed"):
                await carry_out(job, credentials)
        else:
            assert (await carry_out(job, credentials)).failed == failed


async def test_a_torn_foreign_or_missing_answer_file_is_work_done_again(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(40)
    await carry_out(job, credentials)
    Path(job.output.url, "_manifest.json").unlink()
    torn, foreign, gone, flipped = sorted(Path(job.output.url, "_checkpoints").glob("*.parquet"))
    torn.write_bytes(torn.read_bytes()[:-20])
    foreign.write_bytes(b"PAR1 not ours PAR1")
    gone.unlink()
    data = bytearray(flipped.read_bytes())
    data[len(data) // 3] ^= 0xFF
    flipped.write_bytes(bytes(data))

    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    assert 70 <= simulator.ledger()["totals"]["requests"] <= 80


async def test_rows_answered_in_a_sample_are_not_paid_for_again(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(30)
    sample = job.model_copy(update={"input": job.input.model_copy(update={"limit": 7})})
    run = plan_pending_run(sample, credentials, Planning(TODAY))
    await run_plainly(run, Storage(job.output.url).folder("_samples"))

    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    assert (manifest.reused, manifest.requests_sent) == (7, 23)


async def test_embeddings_travel_packed_and_come_back_one_a_row(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    rows: list[str | None] = [f"text {number}" for number in range(25)]
    rows[4], rows[13] = "POISON-400", ""
    job = make_job(
        rows,
        request={"endpoint": "embeddings", "model": "text-embedding-3-small", "input": "{{ text }}"},
        chunk_rows=20,
    )

    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    frame, failures = promptmill.read(job.output.url), promptmill.read_failures(job.output.url)
    assert {len(vector) for vector in frame["embedding"]} == {1536}
    assert dict(zip(failures["row_index"], failures["llm_error_kind"], strict=True)) == {
        4: "invalid_request",
        13: "template_error",
    }
    assert manifest.requests_sent < 15
    assert manifest.cost_usd == sum(frame["llm_cost_usd"])
    assert manifest.input_tokens == simulator.ledger()["totals"]["input_tokens"]


async def test_equal_rows_are_told_apart_even_when_their_ids_share_a_digest(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import promptmill.job.identity as checkpoint

    monkeypatch.setattr(checkpoint, "_ROW_DIGEST_BYTES", 2)  # the clash that 65,000 equal rows would bring
    job = make_job(["same"] * 500, input={"url": str(tmp_path / "rows.parquet"), "id_column": "id"}, chunk_rows=100)
    assert plan(job, credentials).preflight.plan.repetitions

    manifest = await carry_out(job, credentials)

    ids = promptmill.read(job.output.url)["llm_custom_id"]
    assert manifest.rows == len(set(ids)) == 500


async def test_an_interrupted_run_keeps_its_answers_and_those_on_their_way(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(latency_seconds=0.2)
    job = make_job(300, limits={"max_concurrency": 10}, chunk_rows=50)
    running = asyncio.ensure_future(carry_out(job, credentials))
    await asyncio.sleep(1.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    billed = simulator.ledger()["totals"]["requests"]
    simulator.configure(latency_seconds=0)

    manifest = await carry_out(job, credentials)

    reconcile(job, manifest)
    assert 10 <= billed < 300
    assert simulator.ledger()["totals"]["requests"] == 300
    assert manifest.reused == billed


async def test_answers_that_cannot_be_saved_stop_the_run_and_a_retry_does_not_ask_again(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    import promptmill.checkpoints.saver as saver
    from promptmill.planning.plan import needed_columns
    from promptmill.runs.chunk import complete_chunk

    monkeypatch.setattr(saver, "_RETRY_SECONDS", 0.01)
    job = make_job(30, chunk_rows=30, limits={"max_concurrency": 2})
    run = plan(job, credentials)
    store = run.prepared.store
    blocked = Path(job.output.url, "_checkpoints")
    async with answering(run) as engine:
        chunk = engine.plan.chunks[0]
        table = next(engine.dataset.read(30, needed_columns(engine.builder, job)))
        blocked.write_text("a file where the folder should be")
        with pytest.raises(StorageFailed, match="can't be written"):
            await complete_chunk(engine, chunk, table)
        sent = simulator.ledger()["totals"]["requests"]
        with pytest.raises(StorageFailed, match="can't be written"):
            await complete_chunk(engine, chunk, table)
        assert sent == simulator.ledger()["totals"]["requests"] < 30  # nothing is paid for that can't be kept
        blocked.unlink()
        record = await complete_chunk(engine, chunk, table)

        assert record.rows == 30
        assert store.load_chunk(chunk.key).num_rows == 30
        assert engine.progress.done == 30
    assert simulator.ledger()["totals"]["requests"] == 30


async def test_a_run_over_a_moved_output_reuses_every_answer(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
) -> None:
    job = make_job(20)
    await carry_out(job, credentials)
    Path(job.output.url).rename(tmp_path / "moved")
    moved = make_job(20, output={"url": str(tmp_path / "moved")}, name="test")
    (tmp_path / "moved" / "_manifest.json").unlink()

    manifest = await carry_out(moved, credentials)

    assert (manifest.reused, manifest.requests_sent) == (20, 0)


def test_ids_that_repeat_or_are_null_are_refused_before_anything_is_sent(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path, simulator: Simulator
) -> None:
    import pyarrow as pa

    job = make_job(3, input={"url": str(tmp_path / "rows.parquet"), "id_column": "id"})
    for ids, message in (
        (["a", "b", "a"], "rows 0 and 2 have the same 'id': 'a'"),
        (["a", None, "b"], "row 1 has a null in 'id'"),
    ):
        pq.write_table(pa.table({"id": ids, "text": ["x", "y", "z"]}), tmp_path / "rows.parquet")
        with pytest.raises(DatasetError, match=message):
            plan(job, credentials)
    assert simulator.ledger()["counters"]["attempts"] == 0


def test_a_request_larger_than_the_token_limit_is_refused_instead_of_waiting_without_end(
    make_job: MakeJob, credentials: Credentials
) -> None:
    with pytest.raises(JobError, match=r"row 2 takes [\d,]+ tokens; the limit is 120"):
        plan(make_job(["a", "b", "word " * 200], limits={"tokens_per_minute": 120}), credentials)


async def test_prices_finer_than_the_money_column_are_stored(make_job: MakeJob, credentials: Credentials) -> None:
    job = make_job(3, pricing={"input_per_mtok": "0.123456789", "output_per_mtok": "0.000000001"})

    manifest = await carry_out(job, credentials)

    assert manifest.cost_usd == sum(promptmill.read(job.output.url)["llm_cost_usd"]) > 0
