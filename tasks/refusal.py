"""The pull step that ends a run at once when its parameters can't be right, before its flow is loaded.

The server checks values and names inside the job when a run is created, and knows no forbidden name beside `job`: `prefect
deploy` keeps no `additionalProperties` (prefect 3.8.8, ParameterSchema). Prefect's engine meets an unknown name before the
run has a state, so that the run would crash without a word of it and be started once more.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed

from promptmill.errors import JobError
from promptmill.jobfile import parse_job
from promptmill.naming import did_you_mean


async def refuse_bad_parameters() -> dict[str, Any]:
    """Nothing, for a run that may go on.

    Raises: SystemExit, with the run Failed and saying why; the server lets no run crash that has ended.
    """
    async with get_client() as client:
        run = await client.read_flow_run(UUID(flow_run.get_id()))
        assert run.deployment_id is not None  # noqa: S101 - pull steps are a deployment's
        deployment = await client.read_deployment(run.deployment_id)
        known = (deployment.parameter_openapi_schema or {}).get("properties", {})
        try:
            check_parameters(run.parameters, known)
        except JobError as error:
            flow_run_logger(run).error(str(error))
            await client.set_flow_run_state(run.id, Failed(message=str(error)), force=True)
            raise SystemExit(0) from error
    return {}


def check_parameters(parameters: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises: JobError for a parameter that the flow doesn't have, and for a job that isn't one."""
    names = list(known)
    if (unknown := next((name for name in parameters if name not in names), None)) is not None:
        raise JobError(
            f"the run has an unknown parameter {unknown!r}. {did_you_mean(unknown, names)} Nothing was sent."
        )
    if (job := parameters.get("job")) is not None:
        parse_job(job, parameters.get("overrides"))
