"""Makes a run with an unknown parameter end as Failed and say so.

The server checks values, and names inside the job, when a run is created; beside `job` it knows no forbidden name, since
`prefect deploy` keeps no `additionalProperties` (prefect 3.8.8, ParameterSchema). Prefect's engine meets such a name before
the run has begun, and the process ends without a word of it: the run would be Crashed, and be started once more.
"""

import inspect
from collections.abc import Collection, Iterable
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.logging.loggers import flow_run_logger
from prefect.states import Failed

from promptmill.suggest import did_you_mean


async def explain_crash(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """A flow's hook for crashes; the worker calls it with these argument names. Other crashes stay Crashed."""
    del state
    message = _describe_unknown(flow_run.parameters, inspect.signature(flow.fn).parameters)
    if message is not None:
        flow_run_logger(flow_run).error(message)
        async with get_client() as client:
            await client.set_flow_run_state(flow_run.id, Failed(message=message), force=True)


def _describe_unknown(given: Iterable[str], known: Collection[str]) -> str | None:
    """The mistake in the names of a run's parameters; None if there is none."""
    unknown = next((name for name in given if name not in known), None)
    if unknown is None:
        return None
    return f"the run has an unknown parameter {unknown!r}. {did_you_mean(unknown, known)} Nothing was sent."
