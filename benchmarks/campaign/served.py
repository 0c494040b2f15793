"""Rounds with a Prefect server: `promptmill run`, and runs of the deployments, whole and in shards."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks.campaign import jobs
from benchmarks.campaign.books import Books
from benchmarks.campaign.draw import Fault, Round
from benchmarks.campaign.faults import close_door, open_door
from benchmarks.campaign.history import history_of
from benchmarks.campaign.jobs import Place
from benchmarks.campaign.judge import KILLED, History, Ran
from benchmarks.campaign.plain import TRACEBACK
from benchmarks.campaign.server import Server, kill_group, kill_marked, left_of, stop
from benchmarks.rig import get_json, provider

MOST_SECONDS = 900.0  # of one run
MOST_RUNS = 4  # without a fault, until the output must be complete
AWAY_SECONDS = 60.0  # the longest that the server or the storage is away
AWAY = {"server", "storage"}  # faults that kill no process of a run
CODES = {StateType.COMPLETED: 0, StateType.FAILED: 1, StateType.CRASHED: 1, StateType.CANCELLED: 130}


@dataclass(slots=True)
class _Stage:
    """A round under way, and what was seen of it."""

    drawn: Round
    place: Place
    books: Books
    server: Server
    worker: subprocess.Popen[bytes] | None = None
    runs: list[UUID] = field(default_factory=list[UUID])
    ran: list[Ran] = field(default_factory=list[Ran])
    looks: list[tuple[set[str], dict[str, int]]] = field(default_factory=list[tuple[set[str], dict[str, int]]])

    @property
    def mark(self) -> str:
        """What the round's processes have in their environment."""
        return f"{self.drawn.kind}-{self.drawn.seed}"


@contextmanager
def open_stage(folder: Path) -> Generator[Callable[[Round, Place], History]]:
    """Start a server and a provider; yields a function that plays a round."""
    with provider() as base_url:
        server = Server(folder, base_url)
        try:
            server.start()
            yield lambda drawn, place: _play(_Stage(drawn, place, Books(base_url), server))
        finally:
            server.kill()


def _play(stage: _Stage) -> History:
    stage.place.storage.mkdir(parents=True)
    open_door(stage.place)
    jobs.write_job(stage.drawn, stage.place, None)
    stage.books.open(jobs.provider_options(stage.drawn))
    if not stage.drawn.kind.startswith("command"):
        stage.server.deploy()
        stage.worker = stage.server.start_worker(stage.mark, stage.place.folder / "worker")
    try:
        for fault in stage.drawn.faults:
            _run(stage, fault)
        for _ in range(MOST_RUNS):
            if _run(stage).exit_code == 0:
                break
        _run(stage)  # once more: it must find everything done
    finally:
        if stage.worker is not None:
            stop(stage.worker)
    return _history(stage)


def _run(stage: _Stage, fault: Fault | None = None) -> Ran:
    """One run, and the fault that happens to it once it has answered a share of its rows."""
    before = stage.books.sent()
    if stage.drawn.kind.startswith("command"):
        code, has_traceback = _run_command(stage, fault)
    else:
        code, has_traceback = _run_deployment(stage, fault), False
    stage.books.settle()
    sent = stage.books.sent() - before
    was_killed = fault is not None and fault.what not in AWAY
    stage.ran.append(Ran(code, was_killed, sent, stage.place.is_complete, has_traceback))
    stage.looks.append((jobs.delivered_ids(stage.place.output), stage.books.billed()))
    return stage.ran[-1]


def _run_command(stage: _Stage, fault: Fault | None) -> tuple[int | None, bool]:
    log = stage.place.log(len(stage.ran))
    words = ("-m", "flows", "run", str(stage.place.job))
    process = stage.server.spawn(*words, mark=stage.mark, log=log)
    if fault is not None:
        _wait_for_rows(stage, fault, lambda: process.poll() is not None)
        if fault.what == "kill-group":
            kill_group(process)
        elif fault.what == "kill":
            process.kill()
        else:
            _take_away(stage, fault)
    try:
        code = process.wait(MOST_SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    if code is None or code < 0:
        kill_group(process)
    return code, TRACEBACK in log.read_bytes()


def _wait_for_rows(stage: _Stage, fault: Fault, has_ended: Callable[[], bool]) -> None:
    """Wait until a share of the rows was asked for; the start of a run takes longer than its rows."""
    until, wanted = time.monotonic() + MOST_SECONDS, fault.at * stage.drawn.rows
    while not has_ended() and stage.books.sent() < wanted and time.monotonic() < until:
        time.sleep(0.1)


def _take_away(stage: _Stage, fault: Fault) -> None:
    """Take the storage or the server away for a while."""
    if fault.what == "storage":
        close_door(stage.place)
        time.sleep(fault.share * AWAY_SECONDS)
        open_door(stage.place)
        return
    stage.server.kill()
    time.sleep(fault.share * AWAY_SECONDS)
    stage.server.start()


def _run_deployment(stage: _Stage, fault: Fault | None) -> int | None:
    with temporary_settings({PREFECT_API_URL: stage.server.api_url}):
        run = asyncio.run(_start_run(stage))
    stage.runs.append(run)
    if fault is None:
        return _code_at_the_end(stage, run)
    has_ended = partial(_has_ended, stage, run)
    _wait_for_rows(stage, fault, has_ended)
    if fault.what in AWAY:
        _take_away(stage, fault)
        return _code_at_the_end(stage, run)
    has_runs_killed = fault.share > 0.5
    _kill_worker(stage, has_runs_killed=has_runs_killed)
    return KILLED if has_runs_killed else _code_at_the_end(stage, run)


def _kill_worker(stage: _Stage, *, has_runs_killed: bool) -> None:
    """Kill the worker, with its runs or without, and start another."""
    kill_marked(stage.mark, are_runs=False)
    if has_runs_killed:
        kill_marked(stage.mark, are_runs=True)
    if stage.worker is not None:
        stage.worker.wait()
    stage.worker = stage.server.start_worker(stage.mark, stage.place.folder / "worker")


async def _start_run(stage: _Stage) -> UUID:
    job = {**json.loads(stage.place.job.read_bytes()), "provider": "openai"}
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("online-inference/online")
        return (await client.create_flow_run_from_deployment(deployment.id, parameters={"job": job})).id


def _code_at_the_end(stage: _Stage, run: UUID) -> int | None:
    """The exit code that stands for the state in which a run ends."""
    with temporary_settings({PREFECT_API_URL: stage.server.api_url}):
        return asyncio.run(_end_of(run))


def _has_ended(stage: _Stage, run: UUID) -> bool:
    """Whether a run is over, before its fault could happen."""
    found = get_json(f"{stage.server.api_url}/flow_runs/{run}")
    return isinstance(found, dict) and found.get("state_type") in {kind.value for kind in CODES}


async def _end_of(run: UUID) -> int | None:
    until = time.monotonic() + MOST_SECONDS
    async with get_client() as client:
        while time.monotonic() < until:
            state = (await client.read_flow_run(run)).state
            if state is not None and state.type in CODES:
                return CODES[state.type]
            await asyncio.sleep(0.5)
    return None


async def _forget(runs: list[UUID]) -> None:
    """Delete runs, so that none is started again when the round is over."""
    async with get_client() as client:
        for run in runs:
            with suppress(ObjectNotFound):
                await client.delete_flow_run(run)


def _history(stage: _Stage) -> History:
    with temporary_settings({PREFECT_API_URL: stage.server.api_url}):
        asyncio.run(_forget(stage.runs))
    return history_of(stage.drawn, stage.place, stage.books, stage.ran, stage.looks, left_of(stage.mark))
