"""Rounds without a Prefect server: each run is a process of its own, forked or the command itself, and takes its lease."""

import contextlib
import os
import signal
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess

from benchmarks.campaign import jobs
from benchmarks.campaign.audits import audited
from benchmarks.campaign.books import Books
from benchmarks.campaign.command import Command
from benchmarks.campaign.draw import Fault, Round
from benchmarks.campaign.faults import close_door, empty, fill, open_door, small_disk
from benchmarks.campaign.history import history_of
from benchmarks.campaign.jobs import Place
from benchmarks.campaign.judge import AT_BUDGET, Audited, History, Ran

MOST_SECONDS = 120.0  # of one run, after which it hangs
MOST_RUNS = 8  # without a fault, until the output must be complete
UNTIL_ITS_END = 0.6  # a storage that is away for more than this share stays away until the run has ended
TRACEBACK = b"Traceback (most recent call last)"
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["benchmarks.campaign.warm"])
_Process = ForkServerProcess | Command


class NotHere(Exception):
    """The machine can't play a round of that kind."""


@dataclass(slots=True)
class _Stage:
    """A round under way, and what was seen of it."""

    drawn: Round
    place: Place
    books: Books
    run_seconds: float  # that a run without faults takes
    ran: list[Ran] = field(default_factory=list[Ran])
    looks: list[tuple[set[str], dict[str, int]]] = field(default_factory=list[tuple[set[str], dict[str, int]]])
    audits: list[Audited] = field(default_factory=list[Audited])
    groups: list[int] = field(default_factory=list[int])
    at_cap_usd: Decimal | None = None  # what was billed when the cap stopped the run


def play(drawn: Round, place: Place, books: Books, run_seconds: float, *, is_faulty: bool = True) -> History:
    """Play a round to its end. Raises: NotHere."""
    place.storage.mkdir(parents=True)
    open_door(place)
    jobs.write_job(drawn, place, jobs.budget_usd(drawn))
    books.open(jobs.provider_options(drawn, is_faulty=is_faulty))
    stage = _Stage(drawn, place, books, run_seconds)
    with _disk(drawn, place):
        for fault in drawn.faults:
            _meet(stage, fault)
        _run_until_complete(stage)
        _run(stage)  # once more: it must find everything done
        return _history(stage)


@contextmanager
def _disk(drawn: Round, place: Place) -> Generator[None]:
    if not drawn.kind.endswith("disk"):
        yield
        return
    with small_disk(place.storage) as is_mounted:
        if not is_mounted:
            raise NotHere("no small disk can be mounted (mount -t tmpfs)")
        yield


def _start(stage: _Stage, number: int) -> _Process:
    if stage.drawn.is_command:
        process = Command(stage.drawn, stage.place, stage.books.base_url, number)
    else:
        process = _fork(stage, number)
    stage.groups.append(process.pid or 0)
    return process


def _fork(stage: _Stage, number: int) -> ForkServerProcess:
    from benchmarks.campaign.child import carry

    arguments = (str(stage.place.job), stage.books.base_url, stage.drawn.mode, str(stage.place.log(number)))
    process = _CONTEXT.Process(target=carry, args=arguments, daemon=False)
    process.start()
    return process


def _meet(stage: _Stage, fault: Fault) -> None:
    """A run, and the fault that happens to it."""
    sent_before, number = stage.books.sent(), len(stage.ran)
    processes = [_start(stage, number)]
    (process,) = processes
    _wait_for_moment(stage, fault, process)
    seconds = None if fault.share > UNTIL_ITS_END else fault.share * stage.run_seconds
    if fault.what.startswith("kill"):
        _kill(process, is_group=fault.what == "kill-group")
    elif fault.what == "storage":
        close_door(stage.place)
        process.join(MOST_SECONDS if seconds is None else seconds)
        open_door(stage.place)
    elif fault.what == "disk":
        fill(stage.place.storage)
        process.join(MOST_SECONDS if seconds is None else seconds)
        empty(stage.place.storage)
    else:
        _look(stage)  # what is delivered by now, neither of the two may pay for again
        processes.append(_start(stage, number + 1))
        if fault.what == "takeover":
            process.join(fault.share * stage.run_seconds)
            process.kill()
    killed = process if fault.what.startswith(("kill", "takeover")) else None
    _note(stage, processes, sent_before, killed)


def _wait_for_moment(stage: _Stage, fault: Fault, process: _Process) -> None:
    """Wait until the fault's moment, or until the run has ended before it."""
    if fault.by == "time":
        process.join(fault.at * stage.run_seconds)
        return
    wanted = fault.at * max(1, jobs.requests_of(stage.drawn) - stage.books.heard())
    until, before = time.monotonic() + MOST_SECONDS, stage.books.sent()
    while process.is_alive() and stage.books.sent() - before < wanted and time.monotonic() < until:
        time.sleep(0.002)


def _kill(process: _Process, *, is_group: bool) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended, or leads no group yet
        if is_group:
            os.killpg(process.pid or 0, signal.SIGKILL)
            return
    process.kill()


def _run(stage: _Stage) -> Ran:
    """A run without a fault."""
    sent_before = stage.books.sent()
    process = _start(stage, len(stage.ran))
    _note(stage, [process], sent_before)
    return stage.ran[-1]


def _run_until_complete(stage: _Stage) -> None:
    for _ in range(MOST_RUNS):
        if (ran := _run(stage)).exit_code == 0:
            return
        if ran.exit_code == AT_BUDGET:
            stage.at_cap_usd = stage.books.spent_usd()
            jobs.write_job(stage.drawn, stage.place, None)


def _note(stage: _Stage, processes: Sequence[_Process], sent_before: int, killed: _Process | None = None) -> None:
    """Wait until processes have ended, and note what they left."""
    began, number = time.monotonic(), len(stage.ran)
    for process in processes:
        process.join(max(0.0, began + MOST_SECONDS - time.monotonic()))
    codes, seconds = [process.exitcode for process in processes], time.monotonic() - began
    for process in processes:
        process.kill()
        process.join()
    stage.books.settle()
    sent, is_complete = stage.books.sent() - sent_before, stage.place.is_complete
    for offset, (process, code) in enumerate(zip(processes, codes, strict=True)):
        log = stage.place.log(number + offset)
        printed = log.read_bytes() if log.exists() else b""
        stage.ran.append(Ran(code, process is killed, sent, is_complete, TRACEBACK in printed, seconds))
    _look(stage)
    stage.audits.append(audited(stage.drawn, stage.place, stage.books, stage.ran))


def _look(stage: _Stage) -> None:
    """Look at the answers first: what is billed for them later is seen as paid again."""
    stage.looks.append((jobs.delivered_ids(stage.place.output), stage.books.billed()))


def _history(stage: _Stage) -> History:
    left = tuple(f"group {group}" for group in stage.groups if _has_members(group))
    return replace(
        history_of(stage.drawn, stage.place, stage.books, stage.ran, stage.looks, left),
        audits=tuple(stage.audits),
        budget_usd=jobs.budget_usd(stage.drawn),
        spent_usd=stage.books.spent_usd() if stage.at_cap_usd is None else stage.at_cap_usd,
    )


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
