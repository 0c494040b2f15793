"""The batch flows against a real Prefect server, and the commands that look after batches."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import promptmill
from promptmill.batch.policy import EMPTY_LOOKS
from promptmill.batch.registry import Entry, register, registered
from promptmill.errors import ProviderRefused
from promptmill.job.spec import Job
from promptmill.output.manifest import read_manifest
from promptmill.planning.prepared_job import resolve_output, today
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tests.support.billing import billed, counter, paid_twice
from tests.support.commands import warm_flows
from tests.support.jobs import MakeJob
from tests.support.paths import ROOT

pytestmark = pytest.mark.xdist_group("batch-flow")


@pytest.fixture(autouse=True)
def environment(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and a registry as users give them, and batches of a fraction of a second."""
    monkeypatch.setenv("OPENAI_API_KEY", "test-key-that-must-not-show")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    monkeypatch.setenv("PROMPTMILL_STATE_URL", str(tmp_path / "state"))
    simulator.configure(batch_seconds=0.5)


async def advance_until_empty() -> list[dict[str, Any]]:
    """Run advance-batches as a schedule would, until no job is registered; returns what the last run said."""
    from flows.advance_batches import advance_batches

    found: list[dict[str, Any]] = []
    until = time.monotonic() + 60
    while registered():
        assert time.monotonic() < until
        found = await advance_batches()
        time.sleep(0.3)
    return found


async def test_a_flow_submits_a_job_and_advance_batches_publishes_it(
    prefect: str, make_job: MakeJob, simulator: Simulator
):
    from flows.batch_inference import batch_inference

    job = make_job(40, name="deployed", batch__max_requests=15, batch__poll_seconds=0.1)
    left = await batch_inference(job=job)
    names = [entry.job.name for entry in registered()]
    manifest = (await advance_until_empty())[-1]

    assert (left["state"], left["requests"], names) == ("in_flight", 40, ["deployed"])
    assert (manifest["state"], manifest["mode"], manifest["rows"]) == ("completed", "batch", 40)
    assert len(manifest["batches"]) == 3
    assert len(manifest["flow_run_ids"]) == 2
    assert (billed(simulator), paid_twice(simulator)) == (40, 0)
    assert len(promptmill.read(job.output.url)) == 40


async def test_an_online_run_with_a_deadline_asks_by_batch_first_and_leaves_nothing_behind(
    prefect: str, make_job: MakeJob, simulator: Simulator
):
    from flows.online_inference import online_inference

    job = make_job(40, name="timed", batch__poll_seconds=0.1)
    manifest = await online_inference(job=job, deadline="1h")

    assert (manifest["state"], manifest["mode"], manifest["rows"]) == ("completed", "online", 40)
    assert (billed(simulator), billed(simulator, "default"), paid_twice(simulator)) == (36, 4, 0)
    assert (manifest["deadline"]["text"], manifest["deadline"]["is_kept"]) == ("1h", True)
    assert registered() == []


async def test_starting_a_job_again_while_its_batches_are_in_flight_submits_nothing(
    prefect: str, make_job: MakeJob, simulator: Simulator
):
    from flows.batch_inference import batch_inference

    job = make_job(20, name="twice", batch__poll_seconds=0.1)
    await batch_inference(job=job)
    await batch_inference(job=job)
    manifest = await batch_inference(job=job, wait=True)

    assert (manifest["state"], counter(simulator, "batches_created"), billed(simulator)) == ("completed", 1, 20)
    assert await advance_until_empty() is not None


async def test_a_job_that_fails_keeps_no_other_job_from_its_end(prefect: str, make_job: MakeJob, simulator: Simulator):
    from flows.advance_batches import advance_batches
    from flows.batch_inference import batch_inference

    simulator.configure(batch_seconds=3.0)
    good = make_job(10, name="good", batch__poll_seconds=0.1)
    bad = make_job(10, name="bad", output__url=good.output.url + "-bad", batch__poll_seconds=0.1)
    await batch_inference(job=bad)
    await batch_inference(job=good)
    ledger = next(Path(bad.output.url, "_checkpoints", "batches").glob("*-0.json"))
    record = json.loads(ledger.read_bytes())
    ledger.write_text(json.dumps({**record, "batch_id": "batch_of_another", "empty_looks": EMPTY_LOOKS}))
    with pytest.raises(ProviderRefused, match="knows no batch"):
        for _ in range(EMPTY_LOOKS + 1):  # a batch that isn't shown is looked for again
            await advance_batches()
    await advance_until_empty()

    manifest = read_manifest(Storage(good.output.url))
    assert manifest is not None
    assert (manifest.job["name"], manifest.succeeded) == ("good", 10)


async def test_a_cancelled_job_ends_and_its_answers_are_kept(prefect: str, make_job: MakeJob, simulator: Simulator):
    from flows.advance_batches import advance_batches
    from flows.batch_inference import batch_inference

    simulator.configure(batch_seconds=600.0)
    job = make_job(20, name="cancelled", batch__poll_seconds=0.1)
    await batch_inference(job=job)
    told = await advance_batches(action="status", job_name="cancelled")
    await advance_batches(action="cancel")
    await advance_until_empty()

    assert told[0]["batches"][0]["status"] in {"validating", "in_progress"}
    assert not Path(job.output.url, "_manifest.json").exists()
    assert counter(simulator, "batches_created") == 1


async def test_a_job_that_a_process_waits_for_is_listed_and_left_to_that_process(
    prefect: str, make_job: MakeJob, simulator: Simulator
):
    from flows.advance_batches import advance_batches
    from flows.batch_inference import batch_inference

    simulator.configure(batch_seconds=2.0)
    job = make_job(10, name="attended", batch__poll_seconds=0.1)
    own = asyncio.create_task(batch_inference(job=job, wait=True))
    while not registered("attended"):
        await asyncio.sleep(0.1)
    (entry,) = registered("attended")
    told = await advance_batches(action="status", job_name="attended")
    manifest = await own

    assert told[0]["requests"] == 10
    assert replace(entry, owner="another-machine:1").is_attended(entry.seen_at + 60)
    assert not replace(entry, owner="another-machine:1").is_attended(entry.seen_at + 3_600)
    assert (manifest["state"], registered("attended")) == ("completed", [])


async def test_advance_batches_leaves_a_job_alone_that_another_process_waits_for(
    prefect: str, make_job: MakeJob, simulator: Simulator
):
    from flows.advance_batches import advance_batches
    from flows.batch_inference import batch_inference

    job = make_job(10, name="theirs", batch__poll_seconds=0.1)
    await batch_inference(job=job)
    entry = register(registered("theirs")[0].job, False, (), "another-machine:1", time.time())
    time.sleep(1.0)
    told = await advance_batches(job_name="theirs")
    register(entry.job, False, (), "another-machine:1", time.time() - 3_600)
    await advance_until_empty()

    assert told[0]["state"] == "in_flight"
    assert len(promptmill.read(job.output.url)) == 10


def command(*words: str, is_warm: bool = False) -> subprocess.Popen[bytes]:
    """The command a person types; a warm one is forked from a process that has its imports."""
    begins = warm_flows(dict(os.environ)) if is_warm else [sys.executable, "-m", "flows"]
    return subprocess.Popen([*begins, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def job_file(make_job: MakeJob, path: Path, **changes: Any) -> str:
    """A job file."""
    job = make_job(30, batch__poll_seconds=0.2, **changes)
    path.write_text(yaml.safe_dump(json.loads(job.model_dump_json(exclude_defaults=True))))
    return str(path)


def test_a_command_that_was_killed_while_it_waited_goes_on_where_it_was(
    make_job: MakeJob, simulator: Simulator, tmp_path: Path, prefect: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PREFECT_API_URL", prefect)
    simulator.configure(batch_seconds=4.0)
    job = job_file(make_job, tmp_path / "job.yaml", name="killed")
    first = command("run", job, "--mode", "batch")
    until = time.monotonic() + 60
    while not counter(simulator, "batches_created"):
        assert time.monotonic() < until
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    status, shown = command("batches", "status", job, is_warm=True).communicate()
    second = command("run", job, "--mode", "batch", "--json", is_warm=True)
    output, errors = second.communicate(timeout=90)

    assert second.returncode == 0, errors.decode()
    assert json.loads(output.splitlines()[-1])["state"] == "completed"
    assert b"30 submitted" in shown, status
    assert (counter(simulator, "batches_created"), billed(simulator), paid_twice(simulator)) == (1, 30, 0)
    assert b"test-key-that-must-not-show" not in errors


async def in_flight_since_yesterday(job: Job) -> Entry:
    """A deployed run of yesterday's, left to advance-batches: its output's folder is yesterday's."""
    from flows.batch_inference import batch_inference

    await batch_inference(job=resolve_output(job, today() - timedelta(days=1)), retry_failed=True)
    return registered(job.name)[0]


async def test_a_job_begun_yesterday_is_found_and_cancelled_by_its_file(
    prefect: str, make_job: MakeJob, simulator: Simulator, tmp_path: Path
):
    simulator.configure(batch_seconds=600.0)
    changes = {"name": "dated", "output__url": str(tmp_path / "out" / "{{ date }}")}
    entry = await in_flight_since_yesterday(make_job(30, batch__poll_seconds=0.2, **changes))
    job = job_file(make_job, tmp_path / "job.yaml", **changes)
    _, shown = command("batches", "status", job).communicate(timeout=60)
    cancelled, said = command("batches", "cancel", job, "--json").communicate(timeout=60)

    assert entry.job.output.url.encode() in shown
    assert b"30 submitted" in shown
    assert [one["state"] for one in json.loads(cancelled.splitlines()[-1])] == ["cancelled"], said
    assert counter(simulator, "batches_cancelled") == 1


def test_cancel_says_so_if_no_batch_is_in_flight(make_job: MakeJob, tmp_path: Path):
    job = job_file(make_job, tmp_path / "job.yaml", name="idle")
    cancelled, said = command("batches", "cancel", job, "--set", f"output.url={tmp_path / 'b'}", "--json").communicate()

    assert json.loads(cancelled.splitlines()[-1]) == []
    assert f"({tmp_path / 'b'}): no batches are in flight there".encode() in said
    assert not (tmp_path / "b" / "_checkpoints").exists()


def test_changes_without_a_job_file_are_refused():
    refused = command("batches", "status", "--set", "output.url=elsewhere")
    _, said = refused.communicate(timeout=60)

    assert (refused.returncode, b"Name the job file" in said) == (2, True)


async def test_advancing_a_job_by_hand_keeps_what_its_run_wrote_down(
    prefect: str, make_job: MakeJob, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PREFECT_API_URL", prefect)
    simulator.configure(batch_seconds=600.0)
    entry = await in_flight_since_yesterday(make_job(30, name="kept", batch__poll_seconds=0.2))
    job = job_file(make_job, tmp_path / "job.yaml", name="kept")
    advanced = command("batches", "advance", job, is_warm=True)
    _, said = advanced.communicate(timeout=90)

    assert (advanced.returncode, registered("kept")) == (0, [entry]), said
    assert entry.retry_failed


def test_results_of_files_that_were_exported_and_run_elsewhere_can_be_imported(
    make_job: MakeJob, simulator: Simulator, tmp_path: Path, prefect: str, monkeypatch: pytest.MonkeyPatch
):
    """Elsewhere is a program that answers each line as `vllm run-batch` does."""
    monkeypatch.setenv("PREFECT_API_URL", prefect)
    job = job_file(make_job, tmp_path / "job.yaml", name="elsewhere", batch__max_requests=20)
    exported = command("batches", "export", job, "--to", str(tmp_path / "files"), "--json", is_warm=True)
    files = json.loads(exported.communicate(timeout=60)[0].splitlines()[-1])
    results = [answer_file(Path(path)) for path in files]
    brought = command("batches", "import", job, *results, "--json", is_warm=True)
    found = json.loads(brought.communicate(timeout=60)[0].splitlines()[-1])
    run = command("run", job, "--json", is_warm=True)
    manifest = json.loads(run.communicate(timeout=90)[0].splitlines()[-1])

    assert (len(files), found) == (2, {"answered": 30, "unused": 1})
    assert (manifest["rows"], manifest["succeeded"], manifest["requests_sent"]) == (30, 30, 0)
    assert billed(simulator) == 0


def answer_file(path: Path) -> str:
    """The results of a batch file, last line first, with one line more that nobody asked for."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    answered = [
        {
            "id": f"vllm-{number}",
            "custom_id": line["custom_id"],
            "response": {
                "status_code": 200,
                "request_id": f"vllm-batch-{number}",
                "body": {
                    "id": f"cmpl-{number}",
                    "model": line["body"]["model"],
                    "choices": [
                        {
                            "index": 0,
                            "message": {"role": "assistant", "content": '{"label": "good", "score": 1.0}'},
                            "finish_reason": "stop",
                        }
                    ],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
                },
            },
            "error": None,
        }
        for number, line in enumerate(lines)
    ]
    extra = [{**answered[0], "custom_id": "0" * 32 + "-ffffffff"}] if "00000" in path.name else []
    target = path.with_suffix(".out.jsonl")
    target.write_text("\n".join(json.dumps(line) for line in [*reversed(answered), *extra]) + "\n")
    return str(target)
