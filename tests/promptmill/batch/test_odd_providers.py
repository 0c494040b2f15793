"""Batch APIs that differ from OpenAI's: no row is lost, and none is paid for without end."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptmill.batch.following import begin_batches, follow_batches
from promptmill.batch.registry import registered
from promptmill.batch.session import start_batches
from promptmill.errors import ProviderRefused, RunStopped
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.runs.run import PendingRun
from tests.support.batching import carry_batches
from tests.support.billing import assert_whole
from tests.support.jobs import MakeJob, plan_any
from tests.support.odd_batches import OddBatches, chat, odd_batches, refusal, result, row_of, shown

PARAMETER = {"message": "Unsupported value: 'temperature'", "type": "invalid_request_error", "param": "temperature"}
NAMELESS = {"message": "This model can't do that", "type": "invalid_request_error"}


@pytest.fixture
def provider() -> Iterator[OddBatches]:
    """A provider whose batches end at once."""
    with odd_batches() as running:
        yield running


async def carry(make_job: MakeJob, provider: OddBatches, rows: int | list[str | None] = 6, **changes: Any) -> Manifest:
    """A run whose batches are looked at all the time."""
    job = make_job(rows, batch__poll_seconds=0.01, **{"max_failure_ratio": 1.0, **changes})
    return await carry_batches(job, provider.credentials)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(chat(choices=[]), id="no-choices"),
        pytest.param({}, id="nothing"),
        pytest.param([], id="a-list"),
        pytest.param("sorry", id="a-text"),
        pytest.param({"object": "chat.completion"}, id="a-name-and-nothing"),
    ],
)
async def test_an_answer_that_nobody_can_read_is_bought_twice_at_most(
    body: Any, make_job: MakeJob, provider: OddBatches
):
    provider.on_line = lambda line, nth: result(line, body if row_of(line) == 1 else None)
    manifest = await carry(make_job, provider)

    assert_whole(manifest, 6)
    assert manifest.failures_by_kind == {"invalid_response": 1}
    assert sorted(provider.paid.values()) == [1, 1, 1, 1, 1, 2]


async def test_a_line_that_the_provider_lost_is_bought_twice_at_most(make_job: MakeJob, provider: OddBatches):
    provider.on_line = lambda line, nth: None if row_of(line) == 1 else result(line)
    manifest = await carry(make_job, provider)

    assert_whole(manifest, 6)
    assert manifest.failures_by_kind == {"missing": 1}
    assert provider.lines["text number 1"] == 2


async def test_a_line_that_failed_at_the_server_is_tried_as_often_as_the_job_says(
    make_job: MakeJob, provider: OddBatches
):
    failed = {"error": {"message": "try later"}}
    provider.on_line = lambda line, nth: result(line, failed, 500) if row_of(line) == 1 else result(line)
    manifest = await carry(make_job, provider, retry={"max_attempts": 4})

    assert manifest.failures_by_kind == {"server_error": 1}
    assert provider.lines["text number 1"] == 4


async def test_a_run_stops_if_none_of_the_first_answers_can_be_read(make_job: MakeJob, provider: OddBatches):
    provider.on_line = lambda line, nth: result(line, {})

    with pytest.raises(ProviderRefused, match="none of the provider's 6 answers can be read"):
        await carry(make_job, provider)
    assert set(provider.paid.values()) == {1}


@pytest.mark.parametrize(
    "error", [pytest.param(PARAMETER, id="a-parameter"), pytest.param(NAMELESS, id="no-reason-that-is-a-row's")]
)
async def test_a_refusal_that_hits_all_rows_costs_a_large_job_five(
    error: dict[str, Any], make_job: MakeJob, provider: OddBatches
):
    provider.on_line = lambda line, nth: result(line, {"error": error}, 400)
    job = make_job(201, batch__poll_seconds=0.01)
    for runs in (1, 2):
        with pytest.raises(ProviderRefused, match=error["message"]):
            await carry_batches(job, provider.credentials)
        assert sum(provider.lines.values()) == 5 * runs
    provider.on_line = lambda line, nth: result(line)
    manifest = await carry_batches(job, provider.credentials)

    assert_whole(manifest, 201)
    assert (manifest.succeeded, len(provider.batches)) == (201, 4)


async def test_the_first_few_rows_of_a_large_job_are_answered_and_not_bought_again(
    make_job: MakeJob, provider: OddBatches
):
    manifest = await carry(make_job, provider, 201)

    assert_whole(manifest, 201)
    assert [batch["requests"] for batch in manifest.batches] == [5, 196]
    assert set(provider.paid.values()) == {1}


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        pytest.param(200, {}, id="a-small-job"),
        pytest.param(201, {"batch__canary_rows": 0}, id="none-wanted"),
    ],
)
async def test_other_jobs_go_out_at_once(rows: int, changes: dict[str, Any], make_job: MakeJob, provider: OddBatches):
    manifest = await carry(make_job, provider, rows, **changes)

    assert [batch["requests"] for batch in manifest.batches] == [rows]


async def test_a_row_of_its_own_fault_among_the_first_few_stops_nothing(make_job: MakeJob, provider: OddBatches):
    provider.on_line = lambda line, nth: result(line, {"error": NAMELESS}, 400) if row_of(line) == 0 else result(line)
    manifest = await carry(make_job, provider, 201)

    assert (manifest.succeeded, manifest.failed) == (200, 1)


async def test_a_job_with_answers_needs_no_first_few_rows(make_job: MakeJob, provider: OddBatches):
    await carry(make_job, provider, 201, input__limit=150, chunk_rows=50)
    manifest = await carry(make_job, provider, 201, chunk_rows=50, input__limit=None)

    assert [batch["requests"] for batch in manifest.batches] == [51]


def pending_until(looks: int) -> Any:
    """A file that is taken in at the so many-th look."""
    seen = 0

    def on_file(file: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        nonlocal seen
        seen += 1
        return None if seen > looks else (200, {**shown(file), "status": "pending"})

    return on_file


async def test_a_file_that_is_still_taken_in_makes_no_batch(make_job: MakeJob, provider: OddBatches):
    """Azure takes a file in after the upload, and refuses a batch of it until then."""
    provider.on_file = pending_until(4)
    manifest = await carry(make_job, provider)

    assert manifest.succeeded == 6
    assert (len(provider.uploads), len(provider.batches)) == (1, 1)


async def test_a_batch_that_is_refused_because_of_its_unprocessed_file_is_created_later(
    make_job: MakeJob, provider: OddBatches
):
    refusals = [refusal(400, "The file is not in a processed state", code="invalidRequest")] * 2
    provider.on_create = lambda body: refusals.pop() if refusals else None
    manifest = await carry(make_job, provider)

    assert manifest.succeeded == 6
    assert (len(provider.uploads), len(provider.batches)) == (1, 1)


async def test_a_file_that_the_provider_cant_take_in_stops_the_run_and_is_deleted(
    make_job: MakeJob, provider: OddBatches
):
    provider.on_file = lambda file: (200, {**shown(file), "status": "error", "status_details": "line 1 is no JSON"})
    with pytest.raises(ProviderRefused, match="line 1 is no JSON"):
        await carry(make_job, provider)
    assert not provider.files

    provider.on_file = lambda file: None
    assert (await carry(make_job, provider)).succeeded == 6


@pytest.mark.parametrize("spelling", ["/v1/chat/completions", "/chat/completions"])
@pytest.mark.parametrize("status", [400, 404])
async def test_the_endpoint_is_spelled_as_the_provider_takes_it(
    spelling: str, status: int, make_job: MakeJob, provider: OddBatches
):
    def on_create(body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        lines = [json.loads(line)["url"] for line in provider.files[body["input_file_id"]]["data"].splitlines()]
        is_right = {body["endpoint"], *lines} == {spelling}
        return None if is_right else refusal(status, f"The endpoint '{body['endpoint']}' is not supported.")

    provider.on_create = on_create
    manifest = await carry(make_job, provider)

    assert manifest.succeeded == 6
    assert set(provider.lines.values()) == {1}


async def test_an_endpoint_that_is_refused_in_both_spellings_stops_the_run(make_job: MakeJob, provider: OddBatches):
    provider.on_create = lambda body: refusal(400, "This endpoint is not supported.")

    with pytest.raises(ProviderRefused, match="Both spellings"):
        await carry(make_job, provider)
    assert not provider.files


async def test_a_file_gets_an_expiry_where_the_provider_wants_one(make_job: MakeJob, provider: OddBatches):
    quota = refusal(400, "The quota for files without expiry is reached. The maximum is 500.", code="quotaExceeded")
    provider.on_upload = lambda file: None if any("expires_after" in name for name in file["fields"]) else quota
    manifest = await carry(make_job, provider, batch__max_requests=3)

    assert manifest.succeeded == 6
    assert len(provider.uploads) == 3  # only the first was refused


async def test_files_that_the_provider_refuses_for_good_name_the_way_out(make_job: MakeJob, provider: OddBatches):
    provider.on_upload = lambda file: refusal(400, "500 files without an expiration are the most")

    with pytest.raises(ProviderRefused, match="Delete files that nobody needs"):
        await carry(make_job, provider)


async def test_a_file_that_a_proxy_takes_for_too_large_is_cut_smaller(make_job: MakeJob, provider: OddBatches):
    most = 1_000
    provider.on_upload = lambda file: refusal(413, "Payload Too Large") if len(file["data"]) > most else None
    manifest = await carry(make_job, provider)

    assert manifest.succeeded == 6
    assert set(provider.lines.values()) == {1}
    assert len(provider.batches) > 1


@pytest.mark.parametrize(
    ("answer", "is_left"),
    [
        pytest.param(None, True, id="created"),
        pytest.param(
            refusal(400, "Billing hard limit has been reached", code="billing_hard_limit_reached"), False, id="refused"
        ),
    ],
)
async def test_a_job_is_written_down_before_its_first_batch_is_created(
    answer: Any, is_left: bool, make_job: MakeJob, provider: OddBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PROMPTMILL_STATE_URL", str(tmp_path / "state"))
    seen: list[str] = []
    provider.on_create = lambda body: seen.extend(entry.job.name for entry in registered()) or answer
    run = plan_any(make_job(6, batch__canary_rows=0), provider.credentials, mode="batch")
    assert isinstance(run, PendingRun)
    with contextlib.nullcontext() if is_left else pytest.raises(RunStopped):
        await begin_batches(run)

    assert set(seen) == {run.prepared.job.name}
    assert bool(registered()) == is_left


@pytest.mark.parametrize("found", ["sk-the-second-key", "sk-the-first-key"])
async def test_a_key_that_is_refused_while_batches_are_under_way_is_looked_up_once_more(
    found: str, make_job: MakeJob, provider: OddBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PROMPTMILL_STATE_URL", str(tmp_path / "state"))
    address = f"{provider.url}/v1"
    run = plan_any(make_job(6, batch__poll_seconds=0.01), Credentials("sk-the-first-key", address), mode="batch")
    assert isinstance(run, PendingRun)
    work = await begin_batches(run)
    ended = refusal(401, "Incorrect API key provided", code="invalid_api_key")
    provider.on_view = lambda batch, looks: ended if "first" in provider.headers[-1]["Authorization"] else None
    looked_up: list[str] = []

    async def show(line: str, percent: float) -> None:
        del line, percent

    async def look_up() -> Credentials:
        looked_up.append(found)
        return Credentials(found, address)

    if found == "sk-the-second-key":
        await follow_batches(work, run, show, look_up)
        assert work.is_finished
    else:
        with pytest.raises(ProviderRefused, match="Incorrect API key"):
            await follow_batches(work, run, show, look_up)
    assert len(looked_up) == 1


async def test_a_file_that_is_far_too_large_is_cut_within_one_look(make_job: MakeJob, provider: OddBatches):
    provider.on_upload = lambda file: refusal(413, "Payload Too Large") if len(file["data"]) > 2_000 else None
    run = plan_any(make_job(40, batch__canary_rows=0), provider.credentials, mode="batch")
    assert isinstance(run, PendingRun)
    work = await asyncio.to_thread(start_batches, run)
    await asyncio.to_thread(work.step)

    assert len(provider.lines) == 40
    assert set(provider.lines.values()) == {1}


async def test_a_prompt_that_was_cut_in_silence_is_told_by_batch_too(make_job: MakeJob, provider: OddBatches):
    cut = {"prompt_tokens": 400, "completion_tokens": 1, "total_tokens": 401}
    provider.on_line = lambda line, nth: result(line, chat(usage=cut))
    manifest = await carry(make_job, provider, ["a short one", "long " * 4_000])

    assert (manifest.succeeded, manifest.failures_by_kind) == (1, {"truncated_input": 1})


async def test_an_answer_that_the_provider_kept_back_is_taken_from_its_line(make_job: MakeJob, provider: OddBatches):
    error = {"code": "json_validate_failed", "failed_generation": '{"label": "good", "score": 1}', "message": "no"}
    provider.on_line = lambda line, nth: result(
        line, {"error": error} if row_of(line) == 1 else None, 400 if row_of(line) == 1 else 200
    )
    manifest = await carry(make_job, provider)

    assert manifest.succeeded == 6
    assert set(provider.lines.values()) == {1}


async def test_a_row_that_no_file_is_small_enough_for_stops_the_run(make_job: MakeJob, provider: OddBatches):
    provider.on_upload = lambda file: refusal(413, "Payload Too Large")

    with pytest.raises(ProviderRefused, match="holds one row of"):
        await carry(make_job, provider)


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="in-a-line"),
        pytest.param(lambda data: b"".join(data.splitlines(keepends=True)[:3]), id="after-a-line"),
        pytest.param(lambda data: b"", id="before-the-first"),
    ],
)
async def test_a_result_file_that_comes_short_is_fetched_again(cut: Any, make_job: MakeJob, provider: OddBatches):
    provider.on_content = lambda data, reads: cut(data) if reads < 3 else None
    manifest = await carry(make_job, provider)

    assert manifest.succeeded == 6
    assert set(provider.lines.values()) == {1}


async def test_rows_whose_answers_the_provider_counts_and_never_gives_are_not_submitted_again(
    make_job: MakeJob, provider: OddBatches
):
    provider.on_content = lambda data, reads: b"".join(data.splitlines(keepends=True)[:3])
    manifest = await carry(make_job, provider)

    assert_whole(manifest, 6)
    assert manifest.failures_by_kind == {"missing": 3}
    assert set(provider.lines.values()) == {1}


async def test_a_step_waits_for_a_batch_that_the_provider_doesnt_show_at_once(make_job: MakeJob, provider: OddBatches):
    gone = refusal(404, "No batch found")
    provider.on_view = lambda batch, looks: gone if looks < 4 else None
    manifest = await carry(make_job, provider)

    assert manifest.succeeded == 6
    assert len(provider.batches) == 1


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param({"total": 0, "completed": 0, "failed": 0}, id="all-zero"),
        pytest.param({"total": 600, "completed": 600, "failed": 0}, id="too-many"),
        pytest.param({"total": "6", "completed": "6", "failed": None}, id="text-and-null"),
        pytest.param(None, id="none"),
    ],
)
async def test_counts_that_lie_change_nothing(counts: Any, make_job: MakeJob, provider: OddBatches):
    provider.on_view = lambda batch, looks: (200, {**batch, "request_counts": counts})
    manifest = await carry(make_job, provider)

    assert manifest.succeeded == 6
    assert set(provider.lines.values()) == {1}


@pytest.mark.parametrize(
    ("usage", "is_told"),
    [
        pytest.param({"input_tokens": 66, "output_tokens": 9, "total_tokens": 75}, True, id="more"),
        pytest.param({"input_tokens": 60, "output_tokens": 6, "total_tokens": 66}, False, id="the-same"),
        pytest.param({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, False, id="not-counted"),
        pytest.param({"input_tokens": None}, False, id="unknown"),
    ],
)
async def test_a_batch_whose_usage_isnt_the_sum_of_its_lines_is_told(
    usage: dict[str, Any],
    is_told: bool,
    make_job: MakeJob,
    provider: OddBatches,
    caplog: pytest.LogCaptureFixture,
):
    provider.on_view = lambda batch, looks: (200, {**batch, "usage": usage})
    await carry(make_job, provider)

    assert ("66 tokens in and 9 out" in caplog.text) == is_told
