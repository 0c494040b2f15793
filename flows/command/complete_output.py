"""Checks whether a job's output is already complete, before it imports what only a run needs."""

from typing import Any

from flows.command.options import RunOptions
from promptmill.job.spec import Job
from promptmill.output.manifest import manifest_values
from promptmill.planning.opened_job import Opened, open_job, today
from promptmill.planning.standing_output import finished_manifest, retry_scope


def look_at_standing(job: Job, options: RunOptions) -> tuple[Opened, dict[str, Any] | None]:
    """The opened job, and the manifest if its output is already complete. Raises: SetupError or a subclass."""
    opened = open_job(job, today())
    manifest = finished_manifest(opened, retry_scope(opened.job, options.retry_failed))
    return opened, None if manifest is None else manifest_values(manifest)
