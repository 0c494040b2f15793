"""The command that looks at everything a run needs and says what to do where something is missing."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict

from flows.command import console
from promptmill.batch.registry import registry
from promptmill.errors import PromptmillError, SetupError
from promptmill.job.spec import Job
from promptmill.planning.doctor import Finding, look_at_provider, look_at_storage, look_at_versions
from promptmill.planning.prepared_job import resolve_output, today
from promptmill.provider.transport import Credentials


def examine(job: Job | None, credentials: Callable[[], Credentials], as_json: bool) -> None:
    """One line for each finding. Raises: SetupError when something is not well."""
    found = findings(job, credentials)
    for one in found:
        console.show_finding(one.is_well, one.name, one.detail)
    if as_json:
        console.print_json([asdict(one) for one in found])
    if (ill := sum(not one.is_well for one in found)) > 0:
        raise SetupError(f"{ill} of {len(found)} things need a hand; the lines above say which and how.")


def findings(job: Job | None, credentials: Callable[[], Credentials]) -> list[Finding]:
    """Everything that was looked at."""
    from tasks.server.checks import look_at_server

    found = [look_at_versions(), *asyncio.run(look_at_server(job)), look_at_storage("state", registry().url)]
    if job is not None:
        found.append(look_at_storage("output", resolve_output(job, today()).output.url))
    try:
        return [*found, *look_at_provider(credentials())]
    except PromptmillError as error:
        return [*found, Finding("provider", False, str(error))]
