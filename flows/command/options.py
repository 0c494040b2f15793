"""Holds a person's options for `promptmill run`, and decides whether the run needs Prefect."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that the command starts without importing it
    from promptmill.job.spec import Job


@dataclass(frozen=True, slots=True)
class RunOptions:
    """A person's options for `promptmill run`."""

    mode: str = "online"  # or "batch"
    retry_failed: bool = False
    overwrite: bool = False
    approve: bool = False
    wait: bool = True  # whether to wait for another run over the output
    prefect: bool = False  # run as a flow run, even if no server is named
    within: str | None = None  # replaces the job's deadline


def why_flow_run(job: "Job", options: RunOptions, server: str | None) -> str | None:
    """Why a run has to be a Prefect flow run; None if it runs in the command's own process. `server` is the API's URL."""
    if server is not None:
        return f"PREFECT_API_URL is {server}"
    if options.prefect:
        return "you asked for it by --prefect"
    named = {
        "a provider block": job.provider is not None,
        "limits.shared": job.limits.shared is not None,
        "shards": job.shards > 1,
        "task_runner": job.task_runner != "local",
    }
    found = ", ".join(name for name, is_named in named.items() if is_named)
    return f"the job has {found}, which needs Prefect" if found else None
