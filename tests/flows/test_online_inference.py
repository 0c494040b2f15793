"""The flow against a real Prefect server: states, names, artifacts, and the command a person types."""

import json
import logging
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId

import promptmill
from promptmill.errors import ProviderRefused
from promptmill.simulator import Simulator
from tests.support.commands import command, write_job
from tests.support.jobs import MakeJob


@pytest.fixture
def environment(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as users give them."""
    monkeypatch.setenv("OPENAI_API_KEY", "test-key-that-must-not-show")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)


async def task_runs(flow_run_id: str) -> list[tuple[str, str]]:
    """Name and state of each chunk's task run, once the server knows them all."""
    async with get_client() as client:
        for _ in range(100):
            found = await client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))  # pyright: ignore[reportArgumentType]
            )
            chunks = [(one.name, one.state_name or "") for one in found if one.name.startswith("rows ")]
            assert not any(inputs for one in found for inputs in one.task_inputs.values()), (
                "they take nothing from another"
            )
            if chunks and all(state in {"Completed", "Cached", "Failed"} for _, state in chunks):
                return sorted(chunks)
            time.sleep(0.2)
    raise AssertionError(f"the chunks never ended: {found}")


@pytest.mark.usefixtures("environment")
async def test_chunks_are_task_runs_with_names_and_a_second_run_finds_them_cached(
    prefect: str, make_job: MakeJob, simulator: Simulator
) -> None:
    from flows.online_inference import online_inference

    job = make_job(25, name="named")
    first = await online_inference(job=job)
    names = await task_runs(first["flow_run_ids"][0])
    Path(job.output.url, "_manifest.json").unlink()
    second = await online_inference(job=job)

    assert names == [("rows 1 to 10", "Completed"), ("rows 11 to 20", "Completed"), ("rows 21 to 25", "Completed")]
    assert [state for _, state in await task_runs(second["flow_run_ids"][0])] == ["Cached"] * 3
    assert simulator.ledger()["totals"]["requests"] == 25
    async with get_client() as client:
        keys = ["named-progress", "named-summary"]
        artifacts = await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=keys)))
    assert {one.key for one in artifacts} == set(keys)
    assert "25" in str(next(one.data for one in artifacts if one.key == "named-summary"))


@pytest.mark.usefixtures("environment")
async def test_a_flow_asks_while_it_plans_and_says_so(
    prefect: str, make_job: MakeJob, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.online_inference import online_inference

    caplog.set_level(logging.INFO)
    job = make_job([f"text {number % 40}" for number in range(2_600)], name="early", chunk_rows=1_000)

    manifest = await online_inference(job=job)

    assert (manifest["rows"], manifest["succeeded"], manifest["shared"]) == (2_600, 2_600, 2_560)
    assert len(await task_runs(manifest["flow_run_ids"][0])) == 3
    assert simulator.ledger()["totals"]["requests"] == 40
    assert "2600 rows, 2000 of them planned so far" in caplog.text
    assert "the first 2,000 rows are checked before the first request" in caplog.text


@pytest.mark.usefixtures("environment")
async def test_a_flow_takes_from_the_cache_what_another_output_paid_for(
    prefect: str, make_job: MakeJob, simulator: Simulator, tmp_path: Path
) -> None:
    from flows.online_inference import online_inference

    first, second = (
        make_job(25, name="cached", cache=str(tmp_path / "cache"), output__url=str(tmp_path / x)) for x in "ab"
    )
    paid = await online_inference(job=first)
    free = await online_inference(job=second.model_copy(update={"chunk_rows": 7}))

    assert (paid["cached"], free["cached"], free["requests_sent"], free["cost_usd"]) == (0, 25, 0, "0")
    assert simulator.ledger()["totals"]["requests"] == 25


@pytest.mark.usefixtures("environment")
async def test_a_run_that_is_stopped_fails_and_the_next_one_finishes_it(
    prefect: str, make_job: MakeJob, simulator: Simulator
) -> None:
    from flows.online_inference import online_inference

    simulator.configure(quota_after=13)
    job = make_job(40, name="stopped")
    with pytest.raises(ProviderRefused):
        await online_inference(job=job)
    simulator.configure(quota_after=None)

    manifest = await online_inference(job=job)

    assert manifest["rows"] == 40
    assert simulator.ledger()["totals"]["requests"] == 40


@pytest.mark.usefixtures("environment")
async def test_a_chunk_whose_checkpoint_cannot_be_written_fails_its_task_and_is_retried(
    prefect: str, make_job: MakeJob, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from promptmill.checkpoints.store import Store
    from promptmill.errors import StorageFailed
    from tasks.run import chunks as complete

    monkeypatch.setattr(complete.answer_chunk, "retry_delay_seconds", [0, 0])
    real, calls = Store.save_chunk, []

    def fails_first(self: Store, *arguments: Any) -> int:
        calls.append(arguments[0])
        if len(calls) == 1:
            raise StorageFailed("no room")
        return real(self, *arguments)

    monkeypatch.setattr(Store, "save_chunk", fails_first)
    from flows.online_inference import online_inference

    manifest = await online_inference(job=make_job(10, name="retried"))

    assert len(calls) == 2
    assert manifest["succeeded"] == simulator.ledger()["totals"]["requests"] == 10


def test_the_command_runs_a_job_and_its_last_line_is_the_manifest(
    prefect: str, make_job: MakeJob, simulator: Simulator, tmp_path: Path
) -> None:
    path = write_job(make_job(20), tmp_path)

    words = ("run", path, "--json", "--set", "chunk_rows=20")
    process = command(*words, api_url=prefect, base_url=simulator.base_url, is_warm=False)
    output, errors = process.communicate(timeout=120)

    assert process.returncode == 0, errors
    manifest = json.loads(output.splitlines()[-1])
    assert (manifest["state"], manifest["succeeded"], manifest["job"]["chunk_rows"]) == ("completed", 20, 20)
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"must-not-show" not in path.read_bytes()
    assert "must-not-show" not in output + errors


@pytest.mark.parametrize(
    ("changes", "options", "code", "words"),
    [
        pytest.param({"request__user": "{{ txt }}"}, {}, 2, "txt", id="missing-column"),
        pytest.param({"request__model": "no-such-model"}, {}, 2, "pricing", id="unknown-price"),
        pytest.param({"budget_usd": "0.000001"}, {}, 3, "budget_usd", id="budget"),
        pytest.param({}, {"quota_after": 3}, 1, "no quota left", id="quota"),
    ],
)
def test_a_command_that_cannot_finish_says_why_in_words_and_by_its_exit_code(
    prefect: str,
    make_job: MakeJob,
    simulator: Simulator,
    tmp_path: Path,
    changes: dict[str, Any],
    options: dict[str, Any],
    code: int,
    words: str,
) -> None:
    simulator.configure(**options)
    path = write_job(make_job(20), tmp_path)
    values = [f"{name.replace('__', '.')}={value!r}" for name, value in changes.items()]

    process = command(
        "run", path, *(word for one in values for word in ("--set", one)), api_url=prefect, base_url=simulator.base_url
    )
    output, errors = process.communicate(timeout=120)

    assert process.returncode == code, errors
    assert words in errors
    assert "Traceback" not in output + errors


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_keeps_its_answers_and_exits_with_130(
    prefect: str, make_job: MakeJob, simulator: Simulator, tmp_path: Path, sent: signal.Signals
) -> None:
    simulator.configure(latency_seconds=0.3)
    path = write_job(make_job(400, limits={"max_concurrency": 10}, chunk_rows=50), tmp_path)
    process = command("run", path, api_url=prefect, base_url=simulator.base_url, is_warm=False)
    while simulator.ledger()["totals"].get("requests", 0) < 30:
        time.sleep(0.05)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    billed = simulator.ledger()["totals"]["requests"]
    simulator.configure(latency_seconds=0)

    again = command("run", path, "--json", api_url=prefect, base_url=simulator.base_url)
    output, _ = again.communicate(timeout=120)

    assert process.returncode == 130, errors
    assert "The run was interrupted. All that was answered is kept" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert "Failed to serialize" not in errors
    assert json.loads(output.splitlines()[-1])["reused"] == billed
    assert simulator.ledger()["totals"]["requests"] == 400


def test_kills_at_random_moments_lose_no_row_and_pay_for_few_again(
    prefect: str, make_job: MakeJob, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.configure(latency_seconds=0.02, error_500=0.02, reset=0.01)
    rows, concurrency, checkpoint_rows, in_flight, kills = 3_000, 20, 10, 3, 6
    job = make_job(
        rows,
        limits={"max_concurrency": concurrency},
        chunk_rows=100,
        chunks_in_flight=in_flight,
        checkpoint_rows=checkpoint_rows,
    )
    path = write_job(job, tmp_path)
    chance = random.Random(5)

    for number in range(kills):
        process = command("run", path, api_url=prefect, base_url=simulator.base_url)
        goal = rows * (number + 1) // (kills + 2)
        while process.poll() is None and simulator.ledger()["totals"].get("requests", 0) < goal:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        process.communicate()
    last = command("run", path, "--json", api_url=prefect, base_url=simulator.base_url)
    output, errors = last.communicate(timeout=120)

    assert last.returncode == 0, errors
    manifest = json.loads(output.splitlines()[-1])
    frame = promptmill.read(job.output.url)
    assert list(frame["row_index"]) == list(range(rows))
    assert manifest["rows"] == manifest["succeeded"] == len(set(frame["llm_custom_id"])) == rows
    paid_again = simulator.ledger()["totals"]["requests"] - rows
    assert paid_again <= kills * (concurrency + checkpoint_rows * in_flight)
