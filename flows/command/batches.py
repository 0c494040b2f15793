"""The commands that look after batches: status, advance, cancel, export and import."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.command import console
from flows.command.arguments import AsJson, JobFile, Overrides, load
from promptmill.errors import SetupError

if TYPE_CHECKING:  # so that the command starts without importing them
    from promptmill.batch.registry import Entry
    from promptmill.batch.step import BatchWork
    from promptmill.runs.run import PendingRun

app = typer.Typer(help="Look after the batches that are in flight.", no_args_is_help=True)
MaybeJob = Annotated[str | None, typer.Argument(metavar="JOB", help="A job file. Default: every registered job.")]


def _entries(job: str | None, overrides: list[str] | None) -> "list[Entry]":
    """All registered jobs, or those that a job file means; an entry without a name isn't registered."""
    from promptmill.batch.registry import Entry, registered, registered_for
    from promptmill.planning.prepared_job import resolve_output, today

    if job is None:
        if overrides:
            raise SetupError("--set changes a job file, and none is given. Name the job file, or leave --set out.")
        return registered()
    asked = load(job, overrides)
    own = Entry("", resolve_output(asked, today()), False, (), is_ours=True)
    return registered_for(asked, today()) or [own]


def _open_all(job: str | None, overrides: list[str] | None) -> "tuple[list[BatchWork], list[SetupError]]":
    """The batches of the chosen jobs, and why the command doesn't follow some of the jobs."""
    from promptmill.batch.entry_trust import require_followable

    named = None if job is None else load(job, overrides)
    works: list[BatchWork] = []
    refused: list[SetupError] = []
    for entry in _entries(job, overrides):
        try:
            require_followable(entry.job, is_ours=entry.is_ours, named=named)
        except SetupError as error:
            refused.append(error)
        else:
            works.append(_open(entry))
    return works, refused


def _raise_first(refused: "list[SetupError]") -> None:
    """End the command with the reasons why it skipped some jobs. Raises: SetupError."""
    for error in refused[1:]:
        console.say(str(error))
    if refused:
        raise refused[0]


def _plan(job: str, overrides: list[str] | None) -> "PendingRun":
    from flows.command.local import plan_job

    return plan_job(load(job, overrides))


def _open(entry: "Entry") -> "BatchWork":
    from flows.command.local import credentials_of, plan_job
    from promptmill.batch.session import open_batches

    def plan() -> "PendingRun":
        return plan_job(entry.job)

    return open_batches(entry.job, credentials_of(entry.job), plan)


@app.command()
def status(job: MaybeJob = None, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Say how far the batches are, by their ledger, without asking the provider."""
    from promptmill.batch.status import describe, describe_line

    works, refused = _open_all(job, overrides)
    for work in works:
        console.say(f"{work.job.name} ({work.job.output.url}): {describe_line(work, time.time())}")
        console.show_batches(describe(work)["batches"])
    if not works and not refused:
        console.say("No job has batches in flight.")
    if as_json:
        console.print_json([describe(work) for work in works])
    _raise_first(refused)


@app.command()
def advance(job: MaybeJob = None, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Move batches on one step: look, collect, submit what there is room for, publish what is finished."""
    console.prepare_prefect()
    import asyncio

    from flows.advance_batches import advance_batches
    from promptmill.batch.registry import register
    from tasks.batch.steps import named_job
    from tasks.server.temporary_server import some_server

    entries = _entries(job, overrides)
    for entry in entries:
        if not entry.name:
            register(entry.job, retry_failed=False, flow_run_ids=())
    if job is not None:
        named_job.set(load(job, overrides))
    with some_server():
        found = asyncio.run(advance_batches(job_name=None if job is None else entries[0].job.name))
    for summary in found:
        name = summary["job"] if isinstance(summary["job"], str) else summary["job"]["name"]
        console.say(f"{name}: {summary['state']}")
    if as_json:
        console.print_json(found)


@app.command()
def cancel(job: MaybeJob = None, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """End the batches at the provider and keep what they answered; running the job again goes on from there."""
    from promptmill.batch.status import describe, describe_line

    works, refused = _open_all(job, overrides)
    cancelled = [work for work in works if work.ledger.live or work.ledger.state.started_at]
    for work in works:
        place = f"{work.job.name} ({work.job.output.url})"
        if work not in cancelled:
            console.say(f"{place}: no batches are in flight there, so none was cancelled.")
            continue
        work.cancel()
        while work.ledger.live and not work.step():
            time.sleep(min(5.0, work.job.batch.poll_seconds))
        console.say(f"{place}: cancelled. {describe_line(work, time.time())}")
    if as_json:
        console.print_json([describe(work) for work in cancelled])
    _raise_first(refused)


@app.command(name="export")
def export(
    job: JobFile,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the files go.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write the batch files themselves, for people who run them elsewhere."""
    from promptmill.batch.exchange import export_batches

    files = export_batches(_plan(job, overrides), to)
    console.say(f"{len(files)} batch files written to {to}. Run them, then: promptmill batches import {job} RESULTS…")
    if as_json:
        console.print_json([str(path) for path in files])


@app.command(name="import")
def import_(
    job: JobFile,
    files: Annotated[list[Path], typer.Argument(metavar="RESULTS", help="Files of results, JSON Lines.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Keep the answers in result files; `promptmill run` then asks for what is still missing, and publishes."""
    import asyncio

    kept, unused = asyncio.run(_import(_plan(job, overrides), files))
    console.say(f"{kept:,} rows answered, {unused:,} lines not used. Now: promptmill run {job}")
    if as_json:
        found: dict[str, Any] = {"answered": kept, "unused": unused}
        console.print_json(found)


async def _import(run: "PendingRun", files: list[Path]) -> tuple[int, int]:
    """Import when no run works on the output, since a run under way would ask for the same rows."""
    import asyncio

    from promptmill.batch.exchange import import_results
    from promptmill.checkpoints.output_turn import Asking, releasing, take_turn_at

    asking = Asking("promptmill batches import", tell=console.say)
    async with releasing(await take_turn_at(run.prepared.store.storage, asking)):
        return await asyncio.to_thread(import_results, run, files)
