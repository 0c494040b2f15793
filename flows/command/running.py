"""Runs `promptmill run`: in this process, or as a flow run if a Prefect server is named or needed."""

from typing import TYPE_CHECKING, Any

from flows.command import console
from flows.command.arguments import loading
from flows.command.doing import Doing
from flows.command.options import RunOptions, why_flow_run
from promptmill.job.deadline import refuse_by_batches_alone, spoken_time
from tasks.prefect_internals.server_address import server_address

if TYPE_CHECKING:  # so that a misspelt key is reported without importing it
    from promptmill.job.spec import Job
    from promptmill.planning.opened_job import Opened


def run_job(path: str, overrides: list[str] | None, options: RunOptions) -> dict[str, Any]:
    """Run a job file's job to its end; returns its manifest. Raises: PromptmillError; KeyboardInterrupt."""
    with loading(path, _with_deadline(overrides, options)) as (given, told):
        refuse_by_batches_alone(given.deadline, options.mode)
        job = given.model_copy(update={"approve_above_usd": None}) if options.approve else given
        server = server_address()
        why = why_flow_run(job, options, server)
        console.show_log()
        if why is None:
            told.line("Running in this process. Set PREFECT_API_URL or pass --prefect to see runs in Prefect's UI.")
        else:
            started = "" if server is not None else "; a temporary Prefect server is started for it"
            told.line(f"Running as a flow run, since {why}{started}.")
        from flows.command.complete_output import look_at_standing

        opened, manifest = look_at_standing(job, options)
        if manifest is not None:
            return manifest
        if why is not None:
            return _run_as_flow(job, opened, options, told)
        from flows.command.without_server import run_here

        return run_here(opened, options, told)


def _with_deadline(overrides: list[str] | None, options: RunOptions) -> list[str] | None:
    """The replaced values, with the deadline of `--within`."""
    if options.within is None:
        return overrides
    return [*(overrides or []), f"deadline={spoken_time(options.within)}"]


def _run_as_flow(job: "Job", opened: "Opened", options: RunOptions, told: Doing) -> dict[str, Any]:
    """Check the job, then run its flow to its end; the flow plans again."""
    console.prepare_prefect()
    told.step("starting Prefect")
    import asyncio

    from flows.command.as_flow import run_as_flow
    from flows.command.local import look_before_flow
    from tasks.server.temporary_server import some_server
    from tasks.sharding.flow_runs import require_server

    if options.mode == "online" and job.shards > 1 and job.task_runner == "local":
        require_server(job.shards)
    look_before_flow(opened, options)
    with some_server():
        told.close()
        return asyncio.run(run_as_flow(job, options))
