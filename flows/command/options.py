"""What a person says to `promptmill run` beside the job, and whether that takes Prefect."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that the command starts without importing it
    from promptmill.job.spec import Job


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person says to `promptmill run` beside the job."""

    mode: str = "online"  # or "batch"
    retry_failed: bool = False
    overwrite: bool = False
    approve: bool = False
    wait: bool = True  # for another run that works on the output
    prefect: bool = False  # as a flow run, whether or not a server is named
    within: str | None = None  # in place of the job's deadline


def why_flow_run(job: "Job", options: RunOptions, server: str | None) -> str | None:
    """Why a run is a flow run of Prefect's; None where it runs in the command's own process. `server` is the API's URL."""
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
    return f"the job has {found}, which Prefect keeps or carries out" if found else None
