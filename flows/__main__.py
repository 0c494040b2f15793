"""The `promptmill` command: check, estimate, sample, run, batches, doctor, deploy, and the simulator.

Each command imports what it needs when it begins, so that the help and mistakes appear at once.
"""

import sys
from enum import StrEnum
from typing import Annotated, NoReturn

import typer

from flows.command import commands_for_a_run, other_commands
from flows.command.arguments import AsJson, JobFile, NoWait, Overrides, loading
from flows.command.batches import app as batches
from flows.command.cache import app as cache
from promptmill.errors import Interrupted, PromptmillError, StoppedByOrder
from promptmill.memory import collect_seldom, spare_memory
from promptmill.processes import end_process
from promptmill.unread_output import outlive_readers
from tasks.prefect_internals.stop_signals import is_stop_signal

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(batches, name="batches")
app.add_typer(cache, name="cache")


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from promptmill.version import VERSION

        print(f"promptmill {VERSION}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Log lines instead of the progress display, with every detail.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but results and errors.")] = False,
) -> None:
    """Run a language model over every row of a dataset."""
    if verbose or quiet:
        from flows.command.console import choose_loudness

        choose_loudness(is_verbose=verbose, is_quiet=quiet)


class Mode(StrEnum):
    """How a run asks: by a request for each row, or by batches."""

    online = "online"
    batch = "batch"


@app.command()
def check(
    job: JobFile,
    full: Annotated[bool, typer.Option("--full", help="Show the first request as it would be sent, as JSON.")] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Find everything that can be known without paying, and show the first prompt."""
    with loading(job, overrides) as (whole, told):
        from flows.command.local import check_job

        check_job(whole, told, as_json, is_full=full)


@app.command()
def estimate(
    job: JobFile,
    overrides: Overrides = None,
    within: Annotated[
        str | None,
        typer.Option(
            "--within",
            metavar="TIME",
            help="Also say which mode is the cheaper one that ends within 6h, or so many hours: online or batch.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rows, tokens, US dollars online and by batch, minutes at the limits."""
    with loading(job, overrides) as (whole, told):
        from flows.command.local import estimate_job
        from promptmill.job.deadline import spoken_hours

        estimate_job(whole, None if within is None else spoken_hours(within), as_json, told)


@app.command()
def sample(
    job: JobFile,
    rows: Annotated[int, typer.Option("-n", "--rows", min=1, help="How many rows.")] = 20,
    seed: Annotated[int, typer.Option(help="Draws other rows; the same seed draws the same ones.")] = 0,
    first: Annotated[bool, typer.Option("--first", help="Take the first rows instead of drawing them.")] = False,
    no_wait: NoWait = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Run a few rows drawn from the whole dataset, show them, and say what the whole would cost."""
    with loading(job, overrides) as (whole, told):
        from flows.command.local import sample_job

        sample_job(whole, rows, as_json, wait=not no_wait, doing=told, seed=seed, is_first=first)


@app.command()
def run(
    job: JobFile,
    mode: Annotated[
        Mode, typer.Option(help="By single requests, or by the Batch API at half the price.")
    ] = Mode.online,
    within: Annotated[
        str | None,
        typer.Option(
            "--within",
            metavar="TIME",
            help="By batches as far as they answer in time, and the rest online: done within 6h, or 1d 12h.",
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again for the rows that failed.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another job's output.")] = False,
    approve: Annotated[
        bool,
        typer.Option(
            "--approve", "--yes", help="Go on even if the estimate is above approve_above_usd or what was approved."
        ),
    ] = False,
    processes: Annotated[
        str | None,
        typer.Option(metavar="N|auto", help="Answer by N processes of this machine, instead of the job's `processes`."),
    ] = None,
    no_wait: NoWait = False,
    prefect: Annotated[
        bool,
        typer.Option("--prefect", help="As a flow run, on a temporary Prefect server if PREFECT_API_URL names none."),
    ] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Answer every row and publish the answers; run again, it resumes."""
    from flows.command.options import RunOptions
    from flows.command.running import run_job

    options = RunOptions(mode.value, retry_failed, overwrite, approve, wait=not no_wait, prefect=prefect, within=within)
    given = overrides if processes is None else [*(overrides or []), f"processes={processes}"]
    manifest = run_job(job, given, options)
    from flows.command import console

    console.show_manifest(manifest, manifest["job"]["output"]["url"], as_json)


for command_beside in (
    other_commands.init,
    other_commands.export,
    other_commands.clean,
    other_commands.audit,
    other_commands.schema,
    other_commands.doctor,
    other_commands.deploy,
    other_commands.worker,
):
    app.command()(command_beside)
for command_beside in (
    commands_for_a_run.pause,
    commands_for_a_run.resume,
    commands_for_a_run.stop,
    commands_for_a_run.peek,
):
    app.command()(command_beside)
app.command(name="set")(commands_for_a_run.set_values)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)(
    other_commands.simulate
)


def main() -> None:
    """Run the command. Print an error that a user can fix as a sentence; the exit code tells its kind."""
    spare_memory()
    collect_seldom()
    outlive_readers()
    try:
        app()
    except SystemExit as error:
        if error.code != Interrupted.exit_code:
            raise
        _end_by(Interrupted())
    except BaseException as error:
        _end_by(error)


def command() -> NoReturn:
    """Run the command as this whole process, and end the process with its exit code."""
    code: object = 0
    try:
        main()
    except SystemExit as error:
        code = 0 if error.code is None else error.code
    if not isinstance(code, int):
        print(code, file=sys.stderr)
    end_process(code if isinstance(code, int) else 1)


def _end_by(error: BaseException) -> NoReturn:
    """Show an error and end with its exit code."""
    from flows.command import console

    told = _interruption_of(error) if _is_interruption(error) else error
    if not isinstance(told, PromptmillError):
        console.show_crash(told)
        raise SystemExit(1) from None
    console.show_error(told, sys.argv[1:])
    raise SystemExit(told.exit_code) from None


def _interruption_of(error: BaseException) -> Interrupted:
    """Our own error behind Prefect's error, which says who stopped the command."""
    return error.__cause__ if isinstance(error.__cause__, StoppedByOrder) else Interrupted()


def _is_interruption(error: BaseException) -> bool:
    """Whether somebody stopped the command: Prefect has its own errors for SIGTERM and for a cancelled flow run."""
    asyncio = sys.modules.get("asyncio")  # its import takes as long as showing the help
    is_cancelled = asyncio is not None and isinstance(error, asyncio.CancelledError)
    return is_cancelled or isinstance(error, KeyboardInterrupt) or is_stop_signal(error)


if __name__ == "__main__":
    command()
