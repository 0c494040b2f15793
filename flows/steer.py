"""Tell a run that is under way what to do: pause, resume, set a limit or the budget, stop. Like `promptmill pause` and so on.

Requires: the output's storage, and a run that works on it, started in any way: by a deployment, a command or a notebook.
"""

from typing import Any, Literal

from prefect import flow

from tasks.prefect_internals.deployment_form import as_form
from tasks.run.steering import tell_run
from tasks.run.unknown_parameters import explain_crash


@as_form
@flow(name="steer", persist_result=False, on_crashed=[explain_crash])
async def steer(
    action: Literal["pause", "resume", "set", "stop"],
    output_url: str | None = None,
    job_url: str | None = None,
    values: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Give an order to the run under way on an output, and wait until it has heard it.

    Args:
        action: pause sends nothing new until resume; set changes what `values` says; stop ends the run and keeps its answers.
        output_url: The output of the run, unless job_url names its job file.
        job_url: The URL of the run's job file, instead of the output.
        values: What to set: {"limits.max_concurrency": 20, "budget_usd": 50}.
    """
    return await tell_run(action, output_url, job_url, values)
