"""Runs `promptmill run` and `sample` in this process, without a Prefect server."""

import asyncio
import logging
import signal
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import typer

from flows.command import console
from flows.command.doing import Doing
from flows.command.options import RunOptions
from promptmill.batch.live import in_batches
from promptmill.checkpoints.output_turn import Asking, refuse_to_wait
from promptmill.limits.approved_cap import write_approved
from promptmill.planning.estimate import describe_plan
from promptmill.planning.opened_job import Opened
from promptmill.planning.preflight import check_places
from promptmill.planning.prepared_job import prepare_opened, today
from promptmill.provider.first_contact import require_contact
from promptmill.provider.transport import Credentials
from promptmill.runs.approval import NotApproved, keep_approval, left_usd, needs_approval, unpaid_usd, why_asked
from promptmill.runs.run import PendingRun, Planning, plan_prepared, with_approval
from promptmill.signals import HANGUP, EndingSignals, handling
from promptmill.standalone.answering import Alone
from promptmill.standalone.interruption import Interruption
from promptmill.standalone.running import run_alone

_Result = TypeVar("_Result")
log = logging.getLogger("promptmill")


def run_here(opened: Opened, options: RunOptions, doing: Doing) -> dict[str, Any]:
    """Carry out a job whose output isn't complete, in this process; returns its manifest.

    Raises: SetupError or a subclass; RunStopped or a subclass; KeyboardInterrupt while it plans.
    """
    interruption = Interruption()
    with ending_by_signals(interruption):
        planned = _approved(_plan(opened, options, doing))
        asking = Asking("promptmill run", options.wait, tell=console.say)
        return until_its_end(run_alone(planned, Alone(asking, interruption)), interruption).summary()


def until_its_end(work: Coroutine[Any, Any, _Result], interruption: Interruption) -> _Result:
    """Run a coroutine that a signal can end; returns its result."""
    return asyncio.run(interruption.allowing(work))


@contextmanager
def ending_by_signals(interruption: Interruption) -> Generator[None]:
    """While this lasts, Ctrl-C, SIGTERM and a closed terminal end the run gently, and a second signal at once."""
    handler = EndingSignals(lambda: _end(interruption))
    with handling(signal.SIGINT, handler), handling(signal.SIGTERM, handler), handling(HANGUP, handler):
        yield


def _end(interruption: Interruption) -> None:
    if not interruption.end():
        raise KeyboardInterrupt


def _plan(opened: Opened, options: RunOptions, doing: Doing) -> PendingRun:
    """Plan the run, with the cheapest checks first: the provider, other runs, then the rows."""
    planning = Planning(
        today(),
        retry_failed=options.retry_failed,
        overwrite=options.overwrite,
        mode=options.mode,
        tell=doing.rows,
        say=doing.line,
    )
    started, prepared = datetime.now(UTC), with_approval(prepare_opened(opened))
    credentials = Credentials()
    doing.step("asking the provider")
    require_contact(credentials)
    storage = prepared.store.storage
    if not options.wait:
        refuse_to_wait(storage)
    if options.approve:
        check_places(prepared, credentials, options.overwrite)
        prepared = replace(prepared, approved=write_approved(storage, cap_usd=None))
    doing.step("planning", prepared.dataset.rows)
    run = plan_prepared(prepared, credentials, planning, started)
    doing.close()
    log.info("%s", describe_plan(run.preflight.plan, run.preflight.estimate))
    for warning in run.preflight.notes(prepared.job):
        log.warning(warning)
    return run


def _approved(run: PendingRun) -> PendingRun:
    """Ask the person in the terminal if the run costs more than its job allows. Raises: NotApproved."""
    if run.prepared.job.approve_above_usd is None:
        return run
    batches = in_batches(run.prepared.store)
    unpaid, left = unpaid_usd(run, batches), left_usd(run, batches)
    if not needs_approval(run, unpaid, left):
        return run
    why = why_asked(run, unpaid, left)
    if not console.is_dialog():
        raise NotApproved(f"{why} Run it with --approve to say yes here, or in a terminal to be asked.")
    if not _says_yes(f"{why[0].upper()}{why[1:]} Go on?"):
        raise NotApproved("the run was not approved. Nothing was sent.")
    return keep_approval(run, None)


def _says_yes(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # Ctrl-C, or the end of the input
        raise KeyboardInterrupt from None
