"""The command that checks everything a run needs, and says how to fix each problem."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import asdict

from flows.command import console
from promptmill.batch.registry import registry
from promptmill.errors import PromptmillError, SetupError
from promptmill.job.spec import Job
from promptmill.planning.doctor import (
    Finding,
    is_in_container,
    look_at_allowed,
    look_at_provider,
    look_at_state,
    look_at_storage,
    look_at_versions,
)
from promptmill.planning.prepared_job import resolve_output, today
from promptmill.provider.transport import Credentials


def examine(job: Job | None, credentials: Callable[[], Credentials], as_json: bool) -> None:
    """Print one line for each finding. Raises: SetupError if something is wrong."""
    findings = _look_at_everything(job, credentials)
    for finding in findings:
        console.show_finding(finding.is_well, finding.name, finding.detail)
    if as_json:
        console.print_json([asdict(finding) for finding in findings])
    if (ill := sum(not finding.is_well for finding in findings)) > 0:
        raise SetupError(f"{ill} of {len(findings)} things need attention; the lines above say which, and what to do.")


def _look_at_everything(job: Job | None, credentials: Callable[[], Credentials]) -> list[Finding]:
    from tasks.server.checks import look_at_server

    findings = [look_at_versions(), *asyncio.run(look_at_server(job)), *_look_at_this_machine()]
    if job is not None:
        findings.append(look_at_storage("output", resolve_output(job, today()).output.url))
    try:
        return [*findings, *look_at_provider(credentials())]
    except PromptmillError as error:
        return [*findings, Finding("provider", False, str(error))]


def _look_at_this_machine() -> list[Finding]:
    state_url = registry().url
    warning = look_at_state(state_url, asyncio.run(_pool_type()), is_in_container(os.environ))
    return [
        look_at_allowed(os.environ),
        look_at_storage("state", state_url),
        *([warning] if warning is not None else []),
    ]


async def _pool_type() -> str | None:
    """The type of the work pool; None if there is no server, or no pool on it."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    from tasks.server.outages import CALL_ERRORS
    from tasks.server.resources import pool_name

    if not PREFECT_API_URL.value():
        return None
    try:
        async with get_client() as client:
            return (await client.read_work_pool(pool_name())).type
    except CALL_ERRORS:
        return None
