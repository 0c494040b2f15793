"""Checks the provider before a run's first request."""

import asyncio

from promptmill.errors import SetupError
from promptmill.provider.first_contact import require_contact
from promptmill.runs.elsewhere import NOTHING_ELSEWHERE
from promptmill.runs.progress import Progress
from promptmill.runs.run import PendingRun, facts_of_work
from promptmill.runs.totals import counted_manifest
from promptmill.stop import Stop
from tasks.run.publish import announce


async def require_provider(run: PendingRun) -> None:
    """Check the provider, and announce the end of a run that can't send. Raises: ProviderUnreachable; CredentialsError."""
    try:
        await asyncio.to_thread(require_contact, run.credentials)
    except SetupError:
        progress = Progress(run.preflight.plan.rows, 1.0, Stop())  # it has sent nothing
        facts = facts_of_work(run, NOTHING_ELSEWHERE)
        await announce(run.prepared, counted_manifest(run.prepared, facts, progress, "failed"))
        raise
