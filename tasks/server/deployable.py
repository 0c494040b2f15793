"""Lets `prefect deploy` deploy our flows to any server, even a fresh one.

Prefect refuses a deployment whose work pool doesn't exist. So if that command loads one of our flows and our pool is
missing, we do the work of `deployments/bootstrap.py` with its defaults, and say so. The pool comes last: if something
fails before, the next `prefect deploy` makes the rest.
"""

import asyncio
import sys
from collections.abc import Callable
from functools import cache
from threading import Thread
from typing import Any, TypeVar

from tasks.prefect_internals.deploy_command import pool_of_deploy_command
from tasks.prefect_internals.deployment_form import as_form

F = TypeVar("F", bound=Callable[..., Any])


def deployable(flow: F) -> F:
    """The flow with a form for the Prefect UI; if `prefect deploy` loads it, also make its work pool."""
    pool = pool_of_deploy_command()
    if pool is not None:
        _make_missing_needs(pool)
    return as_form(flow)


@cache
def _make_missing_needs(pool: str) -> None:
    """Make everything that our deployments need, if `pool` is ours and missing. The command reports any other problem."""
    thread = Thread(target=asyncio.run, args=[_make_needs(pool)])  # the command's own event loop runs in this thread
    thread.start()
    thread.join()


async def _make_needs(pool: str) -> None:
    from prefect.client.orchestration import get_client

    from promptmill.errors import PromptmillError
    from tasks.server.outages import CALL_ERRORS
    from tasks.server.resources import needs, pool_name

    if pool != pool_name():
        return
    try:
        async with get_client() as client:
            work_pool, *others = needs(client)
            if await work_pool.is_there():
                return
            for need in (*others, work_pool):
                if not await need.is_there():
                    await need.make()
                    sys.stderr.write(f"made {need.name}, which was missing on the server\n")
    except (*CALL_ERRORS, PromptmillError) as error:
        sys.stderr.write(f"what the deployments need could not be made: {error}\n")
