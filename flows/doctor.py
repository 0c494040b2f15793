"""The command that looks at everything a run needs and says what to do where something is missing."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime

from promptmill import console
from promptmill.batch_registry import registry
from promptmill.errors import PromptmillError, SetupError
from promptmill.health import Finding, look_at_provider, look_at_storage, look_at_versions
from promptmill.job import Job
from promptmill.prepared import resolve_output


def examine(job: Job | None, as_json: bool) -> None:
    """One line for each finding. Raises: SetupError when something is not well."""
    found = findings(job)
    for one in found:
        console.show_finding(one.is_well, one.name, one.detail)
    if as_json:
        console.print_json([asdict(one) for one in found])
    if (ill := sum(not one.is_well for one in found)) > 0:
        raise SetupError(f"{ill} of {len(found)} things need a hand; the lines above say which and how.")


def findings(job: Job | None) -> list[Finding]:
    """Everything that was looked at."""
    from tasks.health import look_at_server

    found = [look_at_versions(), *asyncio.run(look_at_server(job)), look_at_storage("state", registry().url)]
    if job is not None:
        found.append(look_at_storage("output", resolve_output(job, datetime.now(UTC).date()).output.url))
    return [*found, *_provider(job)]


def _provider(job: Job | None) -> list[Finding]:
    from flows.local import credentials_of
    from promptmill.transport import Credentials

    try:
        return look_at_provider(credentials_of(job) if job is not None else Credentials())
    except PromptmillError as error:
        return [Finding("provider", False, str(error))]
