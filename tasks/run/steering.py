"""Gives an order to a run, from a separate flow run."""

import asyncio
from collections.abc import Mapping
from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run

from promptmill.errors import JobError
from promptmill.job.file import load_job
from promptmill.planning.opened_job import CHECKPOINTS, resolve_output, today
from promptmill.steering.giving import NotHeard, describe, give_order, order_values, wait_until_heard
from promptmill.steering.orders import Action
from promptmill.storage import Storage
from tasks.run.deployed import close_if_deployed
from tasks.run.logs import quiet_expected_errors


async def tell_run(
    action: Action, output_url: str | None, job_url: str | None, values: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Give an order and wait until the run has heard it. Raises: SetupError or a subclass, StorageFailed, NotHeard."""
    quiet_expected_errors()
    close_if_deployed()
    by = f"the flow run {flow_run.get_name()!r}"
    return await asyncio.to_thread(_tell, action, by, _one_of(output_url, job_url), values)


def _tell(
    action: Action, by: str, place: tuple[str | None, str | None], values: Mapping[str, Any] | None
) -> dict[str, Any]:
    output_url, job_url = place
    if job_url is not None:
        output_url = resolve_output(load_job(job_url), today()).output.url
    checkpoints = Storage(output_url or "", "output_url").folder(CHECKPOINTS)
    given = give_order(checkpoints, action, by, values)
    heard = wait_until_heard(checkpoints, given) if given.is_awaited else []
    told = describe(given, heard)
    if given.is_awaited and not heard:
        raise NotHeard(told)
    get_run_logger().info("%s", told)
    return order_values(given, heard)


def _one_of(output_url: str | None, job_url: str | None) -> tuple[str | None, str | None]:
    """Raises JobError unless exactly one of them is given."""
    if bool(output_url) == bool(job_url):
        raise JobError(
            "an order takes either `output_url` (the output of the run) or `job_url` (its job file). Give one."
        )
    return output_url or None, job_url or None
