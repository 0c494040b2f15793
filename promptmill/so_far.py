"""What there is to read of an output while a run is under way, or after one that ended early.

What a run says of its job lies where others may write too. So a job that this user's own runs didn't write is followed only
to places that a stranger may name (batch/entry_trust.py); a job file that the user names is their own.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from promptmill.allowed_urls import URLS_SETTING, read_rules
from promptmill.batch.entry_trust import closed_places
from promptmill.errors import OutputError
from promptmill.job.file import load_job, parse_job
from promptmill.job.spec import Job
from promptmill.output.manifest import read_manifest
from promptmill.output.reading import known_columns
from promptmill.planning.opened_job import CHECKPOINTS, open_output, resolve_output, today
from promptmill.planning.prepared_job import Prepared, prepare
from promptmill.public_url import public_url
from promptmill.runs.partial import answered_pieces, no_rows
from promptmill.seals import is_sealed
from promptmill.steering.giving import is_held, told_so_far
from promptmill.steering.order_files import OrderFiles, SteeredRun

_JOB_FILES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class SoFar:
    """What there is to read of an output."""

    url: str
    prepared: Prepared | None  # None: the output is complete
    run: SteeredRun | None  # that was begun there last
    pause: str | None = None  # since when it is paused, as a clause
    is_under_way: bool = False


def so_far(place: str, job: Job | None = None) -> SoFar:
    """What there is to read at an output's URL, or at a job file's output; `job` is that of the file, if it is read already.

    Raises: OutputError when nothing is there; JobError or DatasetError when the input can't be read.
    """
    if job is None and place.lower().endswith(_JOB_FILES):
        job = load_job(place)
    resolved = None if job is None else resolve_output(job, today())
    output = open_output(place if resolved is None else resolved.output.url)
    checkpoints = output.folder(CHECKPOINTS)
    files = OrderFiles(checkpoints)
    run, manifest = files.run(), read_manifest(output)
    if manifest is not None and (run is None or (run.is_over and manifest.finished_at >= run.started_at)):
        return SoFar(output.url, None, run)
    if run is None:
        raise OutputError(
            f"{output.shown} has neither a finished output nor a run that is under way or ended early. Start the job, or name "
            "the output of one that was started."
        )
    prepared = prepare(_job_of(run, output.url) if resolved is None else resolved, today())
    is_under_way = not run.is_over and (run.mode == "batch" or is_held(checkpoints))
    return SoFar(output.url, prepared, run, told_so_far(files, run).pause, is_under_way)


def _job_of(run: SteeredRun, url: str) -> Job:
    """The job of a run, as it says itself. Raises: OutputError where it names what a stranger may not; JobError."""
    job = parse_job(
        {**run.job, "output": {**run.job.get("output", {}), "url": url}}, source="orders/run.json", is_ordered=True
    )
    if is_sealed(run.job, run.seal):
        return job
    for place, name, reason in closed_places(job, read_rules(os.environ)):
        raise OutputError(
            f"the run at {public_url(url)} names {place} {public_url(name)!r}, which {reason}, and no run of yours wrote that. "
            f"Give the job file instead of the output's URL, or list the place in {URLS_SETTING}."
        )
    return job


def rows_so_far(prepared: Prepared, columns: Sequence[str] | None) -> pa.Table:
    """The rows that are answered so far, in input order; all columns, or these.

    Raises: OutputError for a column that the output doesn't have; DatasetError, StorageFailed.
    """
    tables = [piece.answered for piece in answered_pieces(prepared)]
    whole = pa.concat_tables([no_rows(prepared), *tables])
    return whole if columns is None else whole.select(known_columns(columns, whole.column_names, prepared.output))
