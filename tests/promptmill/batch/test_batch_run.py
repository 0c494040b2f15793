"""A job by the Batch API, against the simulated provider and its odd cases."""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import promptmill
from promptmill.batch.exchange import export_batches
from promptmill.batch.policy import BatchView
from promptmill.batch.registry import register, registered
from promptmill.batch.session import open_batches, start_batches
from promptmill.errors import BudgetExhausted, InputChanged, JobError, ProviderRefused, StorageFailed, TooManyFailures
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.runs.run import PendingRun
from promptmill.simulator import Simulator
from tests.support.batching import carry_batches, wait_for
from tests.support.billing import assert_whole, billed, counter, paid_twice
from tests.support.jobs import MakeJob, carry_out, plan
from tests.support.rows import write_rows

FAST = {"batch__poll_seconds": 0.05}


@pytest.fixture(autouse=True)
def fast_clock(simulator: Simulator) -> None:
    """Batches that take a fraction of a second."""
    simulator.configure(batch_seconds=0.2)


async def test_the_output_is_the_same_as_online_at_half_the_price(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
):
    online = await carry_out(make_job(60, output__url=str(tmp_path / "online")), credentials)
    batch = await carry_batches(make_job(60, output__url=str(tmp_path / "batch"), **FAST), credentials)
    a, b = (pq.read_table(str(tmp_path / name)) for name in ("online", "batch"))
    same = ["row_index", "id", "text", "response", "label", "score", "llm_custom_id", "llm_input_tokens"]

    assert_whole(batch, 60)
    assert a.schema == b.schema
    assert a.select(same) == b.select(same)
    assert (batch.mode, len(batch.batches), batch.batches[0]["status"]) == ("batch", 1, "completed")
    assert batch.cost_usd * 2 == online.cost_usd
    assert (billed(simulator), batch.requests_sent, batch.reused) == (60, 60, 0)


async def test_nothing_is_submitted_again_after_success(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    job = make_job(30, **FAST)
    await carry_batches(job, credentials)
    again = await carry_batches(job, credentials)
    (Path(job.output.url) / "_manifest.json").unlink()
    looked = await carry_batches(job, credentials)

    assert (again.requests_sent, looked.requests_sent, looked.reused) == (0, 0, 30)
    assert counter(simulator, "batches_created") == 1
    assert not list(Path(job.output.url, "_checkpoints", "rows").glob("*"))


async def test_online_and_batch_share_their_checkpoints(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    await carry_out(make_job(30, input__limit=20), credentials)
    manifest = await carry_batches(make_job(30, **FAST), credentials)

    assert_whole(manifest, 30)
    assert (billed(simulator, "default"), billed(simulator), paid_twice(simulator)) == (20, 10, 0)


@pytest.mark.parametrize(
    ("faults", "twice_at_most"),
    [
        pytest.param({"shuffle_output": True}, 0, id="lines-in-any-order"),
        pytest.param({"line_duplicate_ratio": 0.3}, 0, id="duplicate-lines"),
        pytest.param({"line_missing_ratio": 0.05}, 0, id="missing-lines"),
        pytest.param({"line_garbage_ratio": 0.05}, 0, id="torn-lines"),
        pytest.param({"empty_error_file_id": True}, 0, id="empty-error-file-id"),
        pytest.param({"file_hidden_seconds": 0.1}, 0, id="result-file-visible-later"),
        pytest.param({"batch_fail_first": 2}, 0, id="input-file-not-visible-yet"),
        pytest.param({"lose_create_ratio": 0.7}, 0, id="lost-answers-to-create"),
        pytest.param({"upload_429_ratio": 0.5, "retry_after_seconds": 0.05}, 0, id="429-on-upload"),
        pytest.param({"create_429_ratio": 0.5, "retry_after_seconds": 0.05}, 0, id="429-on-create"),
        pytest.param({"batch_expire_first": 1, "expire_ratio": 0.6}, 0, id="expired-with-partial-output"),
        pytest.param({"batch_expire_first": 1, "expire_ratio": 1.0}, 0, id="expired-without-output"),
    ],
)
async def test_odd_answers_lose_no_row_and_pay_for_none_twice(
    faults: dict[str, Any], twice_at_most: int, make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    simulator.configure(**faults)
    manifest = await carry_batches(make_job(60, batch__max_requests=25, **FAST), credentials)

    assert_whole(manifest, 60)
    assert manifest.failed == 0
    assert billed(simulator) == 60
    assert paid_twice(simulator) == twice_at_most


async def test_lines_with_errors_become_failures_or_are_tried_again(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    """The simulator's error lines are 400 or 500 in turn; a 500 is tried again, a 400 isn't."""
    simulator.configure(line_error_ratio=0.3)
    manifest = await carry_batches(make_job(60, max_failure_ratio=1.0, **FAST), credentials)

    assert_whole(manifest, 60)
    assert set(manifest.failures_by_kind) == {"invalid_request"}
    assert paid_twice(simulator) == 0


async def test_the_run_believes_a_batch_that_completed_without_an_output_file(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    simulator.configure(line_error_ratio=1.0)
    manifest = await carry_batches(make_job(40, max_failure_ratio=1.0, **FAST), credentials)

    assert_whole(manifest, 40)
    assert manifest.succeeded == 0
    assert set(manifest.failures_by_kind) == {"invalid_request", "server_error"}


@pytest.mark.parametrize(
    ("leftovers", "kinds", "standard"),
    [
        pytest.param("fail", {"batch_expired"}, 0, id="fail"),
        pytest.param("online", set[str](), 1, id="online"),
        pytest.param("resubmit", {"batch_expired"}, 0, id="resubmit"),
    ],
)
async def test_leftover_rows_go_where_the_job_says(
    leftovers: str,
    kinds: set[str],
    standard: int,
    make_job: MakeJob,
    credentials: Credentials,
    simulator: Simulator,
):
    """Every batch expires without a line; resubmitting ends after max_attempts."""
    simulator.configure(expire_ratio=1.0)
    job = make_job(20, batch__leftovers=leftovers, max_failure_ratio=1.0, retry={"max_attempts": 3}, **FAST)
    manifest = await carry_batches(job, credentials)

    assert_whole(manifest, 20)
    assert set(manifest.failures_by_kind) == kinds
    assert billed(simulator, "default") == 20 * standard
    assert counter(simulator, "batches_created") == (3 if leftovers == "resubmit" else 1)


async def test_each_wave_keeps_to_the_enqueued_tokens_of_the_job(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    job = make_job(60, **FAST)
    tokens = plan(job, credentials).preflight.plan.input_tokens  # pyright: ignore[reportOptionalMemberAccess]
    manifest = await carry_batches(make_job(60, batch__enqueued_tokens=tokens // 3 + 50, **FAST), credentials)

    assert_whole(manifest, 60)
    assert len(manifest.batches) >= 3
    assert counter(simulator, "batches_failed") == 0


async def test_the_run_waits_while_the_queue_is_full_and_learns_its_limit(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    job = make_job(60, **FAST)
    tokens = plan(job, credentials).preflight.plan.input_tokens  # pyright: ignore[reportOptionalMemberAccess]
    simulator.configure(enqueued_token_limit=tokens // 2)
    manifest = await carry_batches(job, credentials)

    assert_whole(manifest, 60)
    assert (manifest.failed, billed(simulator), paid_twice(simulator)) == (0, 60, 0)


async def test_the_budget_is_a_hard_cap_and_raising_it_resumes(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    whole = await carry_batches(make_job(40, **FAST), credentials)
    simulator.reset()
    cap = whole.cost_usd / 2
    job = make_job(40, name="capped", output__url=str(Path(whole.job["output"]["url"]).parent / "capped"), **FAST)
    with pytest.raises(BudgetExhausted, match="budget_usd"):
        await carry_batches(job.model_copy(update={"budget_usd": cap}), credentials)
    spent = Decimal(billed(simulator)) / 40 * whole.cost_usd
    resumed = await carry_batches(job.model_copy(update={"budget_usd": whole.cost_usd * 100}), credentials)

    assert spent <= cap
    assert_whole(resumed, 40)
    assert (billed(simulator), paid_twice(simulator), resumed.cost_usd) == (40, 0, whole.cost_usd)


async def test_failed_rows_are_asked_again_for_passing_reasons_or_with_retry_failed(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    simulator.configure(line_error_ratio=1.0)
    job = make_job(20, max_failure_ratio=1.0, retry={"max_attempts": 1}, **FAST)
    first = await carry_batches(job, credentials)
    simulator.configure(line_error_ratio=0.0)
    left = await carry_batches(job, credentials)
    retried = await carry_batches(job, credentials, retry_failed=True)

    passing = first.failures_by_kind["server_error"]
    assert 0 < passing < first.failed == 20
    assert (left.failures_by_kind, left.requests_sent) == ({"invalid_request": 20 - passing}, passing)
    assert (retried.failed, retried.succeeded) == (0, 20)


async def test_too_many_failures_stop_the_job(make_job: MakeJob, credentials: Credentials, simulator: Simulator):
    simulator.configure(line_error_ratio=0.9)
    with pytest.raises(TooManyFailures, match="max_failure_ratio"):
        await carry_batches(make_job(300, batch__max_requests=150, **FAST), credentials)


async def test_a_job_that_runs_out_of_credit_stops_and_keeps_its_answers(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    """One batch ended with thousands of error lines when the money ran out (curator issue 296)."""
    simulator.configure(quota_after=20)
    job = make_job(40, **FAST)
    with pytest.raises(ProviderRefused, match="quota"):
        await carry_batches(job, credentials)
    simulator.configure(quota_after=None)
    resumed = await carry_batches(job, credentials)

    assert_whole(resumed, 40)
    assert (resumed.failed, billed(simulator), paid_twice(simulator)) == (0, 40, 0)


async def test_a_batch_that_another_key_created_is_not_submitted_again(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    simulator.configure(batch_seconds=600.0)
    job = make_job(20, **FAST)
    work = start_batches(plan(job, credentials))
    work.step()
    other = Credentials(api_key="another", base_url=simulator.base_url)
    with pytest.raises(ProviderRefused, match="knows no batch"):
        await carry_batches(job, other)

    assert counter(simulator, "batches_created") == 1


async def test_a_cancelled_job_keeps_its_answers_and_the_next_run_goes_on(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    simulator.configure(batch_seconds=4.0)
    job = make_job(200, **FAST)
    work = start_batches(plan(job, credentials))
    work.step()
    while (record := work.ledger.live[0]).completed == 0:
        work.step()
    work.cancel()
    wait_for(work)
    collected = work.ledger.records[record.key]
    simulator.configure(batch_seconds=0.2)
    manifest = await carry_batches(job, credentials)

    assert 0 < collected.answered < 200
    assert (collected.state, collected.status) == ("collected", "cancelled")
    assert_whole(manifest, 200)
    assert (billed(simulator), paid_twice(simulator)) == (200, 0)


async def test_each_embedding_input_is_a_line_of_its_own(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    request = {"endpoint": "embeddings", "model": "text-embedding-3-small", "input": "{{ text }}"}
    manifest = await carry_batches(make_job(30, request=request, **FAST), credentials)
    vectors = promptmill.read(manifest.job["output"]["url"])["embedding"]

    assert_whole(manifest, 30)
    assert len({tuple(vector) for vector in vectors}) == 30


async def test_input_files_are_deleted_once_the_job_is_published(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
):
    await carry_batches(make_job(10, output__url=str(tmp_path / "a"), **FAST), credentials)
    deleted = len(_input_files(simulator, credentials))
    await carry_batches(make_job(10, output__url=str(tmp_path / "b"), batch__keep_files=True, **FAST), credentials)

    assert (deleted, len(_input_files(simulator, credentials))) == (0, 1)


async def test_a_batch_that_another_process_submits_is_left_to_that_process(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    """Two runs of one job at the same time make one batch of each file."""
    job = make_job(20, **FAST)
    work = start_batches(plan(job, credentials))
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    simulator.configure(upload_429_ratio=1.0, retry_after_seconds=0.02)
    work.step()
    simulator.configure(upload_429_ratio=0.0)
    packed = work.ledger.live[0]
    work.ledger.records[packed.key] = owned = replace(packed, owner=f"{platform.node()}:{sleeper.pid}")
    work.step()
    left = work.ledger.records[packed.key]
    sleeper.kill()
    sleeper.wait()
    wait_for(work)

    assert left == owned
    assert (counter(simulator, "batches_created"), billed(simulator)) == (1, 20)


async def test_rows_whose_results_the_provider_deleted_are_asked_again(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    """They are paid for and gone: nothing but asking again brings them back."""
    simulator.configure(file_hidden_seconds=600.0)
    job = make_job(10, retry={"max_attempts": 1}, max_failure_ratio=1.0, **FAST)
    manifest = await carry_batches(job, credentials)

    assert_whole(manifest, 10)
    assert manifest.failures_by_kind == {"missing": 10}


def _input_files(simulator: Simulator, credentials: Credentials) -> list[dict[str, Any]]:
    from urllib.request import Request, urlopen

    request = Request(
        f"{simulator.base_url}/files?purpose=batch", headers={"Authorization": f"Bearer {credentials.api_key}"}
    )
    with urlopen(request) as answer:
        return json.load(answer)["data"]


async def test_a_batch_whose_creation_was_unclear_is_not_created_after_a_cancellation(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    work = start_batches(plan(make_job(10, **FAST), credentials))
    simulator.configure(create_429_ratio=1.0, retry_after_seconds=0.05)
    work.step()
    simulator.configure(create_429_ratio=0.0)
    (record,) = work.ledger.live
    work.ledger.save(replace(record, state="creating", not_before=0.0), 0.0)
    work.cancel()
    work.clock = lambda: time.time() + 3600
    wait_for(work)

    assert [one.state for one in work.ledger.records.values()] == ["dropped"]
    assert counter(simulator, "batches_created") == 0


def test_a_cancellation_holds_for_a_step_that_another_process_is_in_the_middle_of(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    simulator.configure(batch_seconds=600.0)
    job = make_job(60, **FAST, batch__max_requests=10)
    run = plan(job, credentials)
    work, elsewhere = start_batches(run), open_batches(job, credentials, lambda: run)
    real, created = work.provider.create, list[BatchView]()

    def cancel_after_two(*words: Any) -> BatchView:
        created.append(real(*words))
        if len(created) == 2:
            elsewhere.cancel()
        return created[-1]

    work.provider.create = cancel_after_two  # type: ignore[method-assign]
    work.step()
    work.step()
    told = open_batches(job, credentials, lambda: run)
    seen = [told.provider.retrieve(record.batch_id) for record in told.ledger.records.values() if record.batch_id]

    assert counter(simulator, "batches_created") == 2
    assert told.ledger.state.is_cancelled
    assert {view.status for view in seen if view is not None} <= {"cancelling", "cancelled"}


def test_a_cancellation_ends_the_batch_whose_process_was_killed_before_it_knew_its_id(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
):
    simulator.configure(batch_seconds=600.0)
    job = make_job(10, **FAST)
    run = plan(job, credentials)
    work = start_batches(run)
    real = work.provider.create

    def create_and_die(*words: Any) -> BatchView:
        raise KeyboardInterrupt(real(*words))

    work.provider.create = create_and_die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        work.step()
    monkeypatch.setattr("promptmill.batch.step.is_at_work", lambda *_: False)
    cancelling = open_batches(job, credentials, lambda: run)
    cancelling.cancel()
    (record,) = cancelling.ledger.records.values()
    view = cancelling.provider.retrieve(record.batch_id)

    assert [one.state for one in work.ledger.records.values()] == ["creating"]
    assert (record.state, counter(simulator, "batches_created")) == ("submitted", 1)
    assert view is not None
    assert view.status in {"cancelling", "cancelled"}


async def test_a_run_after_a_cancellation_forgets_it(make_job: MakeJob, credentials: Credentials):
    job = make_job(10, **FAST)
    start_batches(plan(job, credentials)).cancel()
    manifest = await carry_batches(job, credentials)

    assert_whole(manifest, 10)
    assert not start_batches(plan(make_job(10, **FAST, input__limit=5), credentials)).ledger.state.is_cancelled


def test_export_names_a_row_that_fits_into_no_file(make_job: MakeJob, credentials: Credentials, tmp_path: Path):
    job = make_job(["short", "x" * 5_000, "short too"], batch__max_bytes=3_000)

    with pytest.raises(JobError, match=r"doesn't fit into a batch file: its bytes"):
        export_batches(plan(job, credentials), tmp_path / "files")


def _must_not(what: str) -> Callable[[], Any]:
    def act() -> None:
        raise AssertionError(f"the step {what}")

    return act


def _started(make_job: MakeJob, credentials: Credentials) -> Job:
    """A job whose first batch takes 20 of 60 rows, and leaves no room for more."""
    tokens = plan(make_job(60), credentials).preflight.plan.input_tokens
    job = make_job(60, batch__enqueued_tokens=tokens // 3 + 20, **FAST)
    work = start_batches(plan(job, credentials))
    work.step()
    assert [record.requests for record in work.ledger.live] == [20]
    return job


def test_a_step_for_which_there_is_no_room_opens_no_input(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    simulator.configure(batch_seconds=600.0)
    job = _started(make_job, credentials)
    work = open_batches(job, credentials, _must_not("planned"))
    work.prepare = _must_not("opened the input")

    assert not work.step()
    assert counter(simulator, "batches_created") == 1


def test_the_next_step_collects_and_submits_without_a_plan(
    make_job: MakeJob,
    credentials: Credentials,
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """The job is read from the registry, as a deployed step reads it."""
    monkeypatch.setenv("PROMPTMILL_STATE_URL", str(tmp_path / "state"))
    register(_started(make_job, credentials), False, ())
    (entry,) = registered()
    wait_for(open_batches(entry.job, credentials, _must_not("planned")))

    assert (billed(simulator), paid_twice(simulator), counter(simulator, "batches_created")) == (60, 0, 3)


def test_a_batch_is_given_up_only_once_the_ledger_says_that_its_rows_wait(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    """A process may end between the two; the rows of a batch that was given up first would be left out."""
    job = make_job(10, **FAST)
    work = start_batches(plan(job, credentials))
    simulator.configure(upload_429_ratio=1.0, retry_after_seconds=0.02)
    work.step()
    work.ledger.save_state(replace(work.ledger.state, is_all_submitted=True))
    state = Path(job.output.url, "_checkpoints", "batches", "_state.json")
    state.unlink()
    state.mkdir()
    (state / "in-the-way").touch()
    work.clock = lambda: time.time() + 3600
    with pytest.raises(StorageFailed, match="_state.json can't be written"):
        work.step()

    assert [record.state for record in work.ledger.records.values()] == ["packed"]


def test_a_step_after_the_input_has_grown_plans_it_again_and_submits_the_new_rows(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    job = _started(make_job, credentials)
    write_rows(Path(job.input.urls[0]), [f"text number {number}" for number in range(80)])
    plans = list[PendingRun]()

    def replan() -> PendingRun:
        plans.append(plan(job, credentials, overwrite=True))
        return plans[-1]

    wait_for(open_batches(job, credentials, replan))

    assert (len(plans), billed(simulator), paid_twice(simulator)) == (1, 80, 0)


def test_a_run_submits_nothing_more_once_its_input_lost_rows(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
):
    job = make_job(40, **FAST)
    work = start_batches(plan(job, credentials))
    write_rows(Path(job.input.urls[0]), [f"text number {number}" for number in range(20)])

    with pytest.raises(InputChanged, match="changed while the run read it"):
        work.step()

    assert counter(simulator, "batches_created") == 0
