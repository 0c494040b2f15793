"""Jobs with batches in flight: one small object a job at PROMPTMILL_STATE_URL, so that any machine finds them."""

import logging
import os
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from promptmill.errors import StorageFailed
from promptmill.job.spec import Job
from promptmill.planning.prepared_job import resolve_output
from promptmill.processes import is_at_work
from promptmill.storage import STORAGE_ERRORS, Storage

SETTING = "PROMPTMILL_STATE_URL"
FOLDER = "jobs"
DAYS_BACK = 60  # a batch has a day or so, and a job goes on wave by wave
log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class Entry:
    """A job whose batches somebody must look after."""

    name: str  # of its object
    job: Job  # output.url is no template any more
    retry_failed: bool
    flow_run_ids: tuple[str, ...]
    owner: str = ""  # the process that waits for the batches itself (processes.py); "" = advance-batches does
    seen_at: float = 0.0  # when that process last said so; seconds since the epoch

    def is_attended(self, now: float) -> bool:
        """Whether another process waits for these batches itself, so that no step has to move them on."""
        return is_at_work(self.owner, now - self.seen_at)


def registry() -> Storage:
    """Where the jobs are written down."""
    home = os.environ.get("PREFECT_HOME") or str(Path.home() / ".prefect")
    return Storage(os.environ.get(SETTING) or f"{home}/promptmill", place=None)


def _name_of(job: Job) -> str:
    digest = blake2b(job.output.url.encode(), digest_size=4).hexdigest()
    return f"{FOLDER}/{job.name}-{digest}.json"


def register(job: Job, retry_failed: bool, flow_run_ids: tuple[str, ...], owner: str = "", now: float = 0.0) -> Entry:
    """Write a job down; `owner` is a process that waits for its batches itself. Raises: StorageFailed."""
    entry = Entry(_name_of(job), job, retry_failed, flow_run_ids, owner, now)
    values: dict[str, Any] = {
        "job": job.model_dump(mode="json"),
        "retry_failed": retry_failed,
        "flow_run_ids": list(flow_run_ids),
        "owner": owner,
        "seen_at": now,
    }
    storage = registry()
    try:
        storage.write(entry.name, orjson.dumps(values))
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{storage.url}/{entry.name} can't be written: {error}. advance-batches finds the job there ({SETTING}). "
            "Give access or set another place."
        ) from error
    return entry


def registered(job_name: str | None = None) -> list[Entry]:
    """All jobs that are written down, or those of a name. Raises: StorageFailed."""
    storage = registry()
    try:
        names = sorted(name for name in storage.sizes(FOLDER) if name.endswith(".json"))
        entries = [_read(storage, name) for name in names]
    except STORAGE_ERRORS as error:
        raise StorageFailed(f"{storage.url} can't be read: {error}. Check {SETTING} and the access to it.") from error
    return [one for one in entries if one is not None and job_name in {None, one.job.name}]


def registered_for(job: Job, today: date) -> list[Entry]:
    """The entries that a job file means: those of its name whose output it names today or named on a day before.

    Raises: StorageFailed; JobError when output.url is no template that can be rendered.
    """
    urls = {resolve_output(job, today - timedelta(days=back)).output.url for back in range(DAYS_BACK)}
    return [one for one in registered(job.name) if one.job.output.url in urls]


def _read(storage: Storage, name: str) -> Entry | None:
    try:
        values = orjson.loads(storage.read(name))
        job = Job.model_validate(values["job"])
        owner, seen_at = str(values.get("owner", "")), float(values.get("seen_at", 0.0))
        return Entry(name, job, bool(values["retry_failed"]), tuple(values["flow_run_ids"]), owner, seen_at)
    except FileNotFoundError:
        return None  # another process has just finished it
    except (ValueError, KeyError, TypeError) as error:
        return _unusable(storage, name, error)


def _unusable(storage: Storage, name: str, error: Exception) -> None:
    """One entry that is damaged keeps no other job from its turn."""
    log.error(
        "%s/%s isn't a job that can be looked after: %s. Run the job again, which writes it anew; its batches are in its "
        "own ledger.",
        storage.url,
        name,
        error,
    )


def unregister(entry: Entry) -> None:
    """Strike a job off."""
    registry().delete([entry.name])


def unregister_job(job: Job) -> None:
    """Strike a job off whose output is published; nothing happens where it isn't written down."""
    registry().delete([_name_of(job)])
