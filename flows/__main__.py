"""The `promptmill` command: check, estimate, sample, run, batches, doctor, and the simulator.

Only the commands that need Prefect import it: the import takes most of a second.
"""

import asyncio
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from flows.command import console
from flows.command.arguments import AsJson, JobFile, NoWait, Overrides, load
from flows.command.batches import app as batches
from promptmill.errors import Interrupted, PromptmillError
from promptmill.job.spec import Job
from promptmill.memory import spare_memory
from tasks.prefect_internals.stop_signals import is_stop_signal

app = typer.Typer(
    help="Run a language model over every row of a dataset.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(batches, name="batches")


class Mode(StrEnum):
    """How a run asks: by a request for each row, or by batches."""

    online = "online"
    batch = "batch"


@app.command()
def check(job: JobFile, overrides: Overrides = None) -> None:
    """Find everything that can be known without paying, and show the first request."""
    from flows.command.local import check_job

    check_job(load(job, overrides))


@app.command()
def estimate(
    job: JobFile,
    overrides: Overrides = None,
    within: Annotated[
        float | None,
        typer.Option(
            "--within",
            metavar="HOURS",
            help="Also say which mode is the cheaper one that ends within so many hours: online or batch.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rows, tokens, US dollars online and by batch, minutes at the limits."""
    from flows.command.local import estimate_job

    estimate_job(load(job, overrides), within, as_json)


@app.command()
def sample(
    job: JobFile,
    rows: Annotated[int, typer.Option("-n", "--rows", min=1, help="How many rows.")] = 20,
    no_wait: NoWait = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Run the first rows for real, show them, and say what the whole would cost."""
    from flows.command.local import sample_job

    sample_job(load(job, overrides), rows, as_json, wait=not no_wait)


@app.command()
def run(
    job: JobFile,
    mode: Annotated[
        Mode, typer.Option(help="By single requests, or by the Batch API at half the price.")
    ] = Mode.online,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again for the rows that failed.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another job's output.")] = False,
    approve: Annotated[
        bool,
        typer.Option("--approve", help="Go on even if the estimate is above approve_above_usd or what was approved."),
    ] = False,
    no_wait: NoWait = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Answer every row and publish the answers; run again, it resumes."""
    from flows.command.local import finished_run

    whole = load(job, overrides)
    if approve:
        whole = whole.model_copy(update={"approve_above_usd": None})
    manifest = finished_run(whole, retry_failed, overwrite, approve, wait=not no_wait)
    if manifest is None:
        console.prepare_prefect()
        from tasks.server.temporary_server import some_server

        with some_server():
            manifest = asyncio.run(_flow_run(mode, whole, retry_failed, overwrite, wait_for_others=not no_wait))
    console.show_manifest(manifest, manifest["job"]["output"]["url"], as_json)


async def _flow_run(mode: Mode, job: Job, retry_failed: bool, overwrite: bool, wait_for_others: bool) -> dict[str, Any]:
    """Run the flow of a mode to its end."""
    from flows.command.large_jobs import parameters_of
    from tasks.run.output_turn import may_wait

    may_wait.set(wait_for_others)
    if mode is Mode.batch:
        from flows.batch_inference import batch_inference

        with parameters_of(job) as (given, job_url):
            return await batch_inference(
                job=given, job_url=job_url, retry_failed=retry_failed, overwrite=overwrite, wait=True
            )
    from flows.online_inference import online_inference
    from tasks.sharding.flow_runs import require_server

    if job.shards > 1 and job.task_runner == "local":
        require_server(job.shards)
    with parameters_of(job) as (given, job_url):
        return await online_inference(job=given, job_url=job_url, retry_failed=retry_failed, overwrite=overwrite)


@app.command()
def doctor(
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="A job file, to look at its output, its provider and its shared limit too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at server, worker, blocks, limits, result storage, provider and clock: one line each, with the remedy."""
    console.prepare_prefect()
    from flows.command.doctor import examine
    from flows.command.local import credentials_of
    from promptmill.provider.transport import Credentials

    whole = load(job, None) if job is not None else None
    examine(whole, lambda: Credentials() if whole is None else credentials_of(whole), as_json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def simulate(context: typer.Context) -> None:
    """Serve a local OpenAI-compatible API with limits, faults and deterministic answers."""
    from promptmill.simulator.__main__ import main as serve

    sys.argv = ["promptmill simulate", *context.args]
    serve("promptmill simulate")


def main() -> None:
    """Run the command. Print an error that a user can fix as a sentence; the exit code says its kind."""
    spare_memory()
    try:
        app()
    except PromptmillError as error:
        console.show_error(error)
        raise SystemExit(error.exit_code) from None
    except BaseException as error:
        if isinstance(error, SystemExit) and not _is_interruption(error):
            raise
        if not _is_interruption(error):
            console.show_crash(error)
            raise SystemExit(1) from None
        console.show_error(Interrupted())
        raise SystemExit(Interrupted.exit_code) from None


def _is_interruption(error: BaseException) -> bool:
    """Whether somebody stopped the command.

    Typer turns Ctrl-C into an exit; Prefect has errors of its own for SIGTERM and for a cancelled flow run.
    """
    if isinstance(error, SystemExit):
        return error.code == Interrupted.exit_code
    ours = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
    return ours or is_stop_signal(error)


if __name__ == "__main__":
    main()
