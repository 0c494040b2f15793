"""The output that stands already: whether it is what this job would make, and whether this run may replace it."""

from dataclasses import replace

from promptmill.errors import OutputError
from promptmill.output.manifest import Manifest, describe_difference, read_manifest
from promptmill.planning.prepared_job import Prepared


def finished_manifest(prepared: Prepared, retry_failed: bool) -> Manifest | None:
    """The manifest of an output that is what this job would make now, with this run's own figures; None otherwise."""
    standing = read_manifest(prepared.output)
    if standing is None or standing.input_fingerprint != prepared.identity or standing.job_digest != prepared.digest:
        return None
    if standing.state != "completed" or (retry_failed and standing.failed):
        return None
    listed = {part.path: part.bytes for part in (*standing.parts, *standing.failure_parts)}
    found = {name: size for name, size in prepared.output.sizes().items() if name in listed}
    if found != listed:
        return None
    return replace(standing, reused=standing.rows, requests_sent=0, attempts=0)


def refuse_foreign_output(prepared: Prepared, overwrite: bool) -> None:
    """Raises: OutputError where another job's output stands and may not be replaced."""
    standing = read_manifest(prepared.output)
    if overwrite or standing is None or standing.job_digest == prepared.digest:
        return
    differences = "\n".join(f"  {line}" for line in describe_difference(standing, prepared.job))
    raise OutputError(
        f"{prepared.output.url} holds the output of another job:\n{differences}\nOne folder holds one job's output "
        "(output.url). Give another output.url, or run with --overwrite to replace it."
    )
