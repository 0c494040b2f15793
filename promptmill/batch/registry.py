"""Lists the jobs with batches in flight: one small object a job at PROMPTMILL_STATE_URL, where any machine finds it."""

import os
from dataclasses import dataclass, replace
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import TypeAdapter

from promptmill.batch.entry_trust import STATE_SETTING
from promptmill.errors import StorageFailed
from promptmill.home_folder import prefect_home
from promptmill.job.spec import Job
from promptmill.planning.prepared_job import resolve_output
from promptmill.processes import is_at_work
from promptmill.seals import is_sealed, seal
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS, Storage

_FOLDER = "jobs"
_DAYS_BACK = 60  # a batch takes about a day, and a job may have many waves


@dataclass(frozen=True, slots=True)
class Entry:
    """A job whose batches somebody must look after."""

    name: str  # name of its object
    job: Job  # output.url is already rendered
    retry_failed: bool
    flow_run_ids: tuple[str, ...]
    owner: str = ""  # the process that waits for the batches itself (processes.py); "" = advance-batches does
    seen_at: float = 0.0  # when that process last renewed the entry; seconds since the epoch
    is_ours: bool = False  # this user wrote it (entry_trust.py)

    def is_attended(self, now: float) -> bool:
        """Whether another process waits for these batches, so that advance-batches may leave them alone."""
        return is_at_work(self.owner, now - self.seen_at)


@dataclass(frozen=True, slots=True)
class _Stored:
    """The JSON of an entry's object."""

    job: Job
    retry_failed: bool
    flow_run_ids: tuple[str, ...]
    owner: str = ""
    seen_at: float = 0.0
    seal: str = ""


_ENTRY = StateFile(  # a damaged entry doesn't block other jobs
    TypeAdapter(_Stored),
    purpose="It names a job whose batches somebody must look after.",
    way_on="Nobody does now: run the job again, which writes the file again; its batches are in its own ledger.",
    strict=False,
)


def registry() -> Storage:
    """The storage of the registry."""
    return Storage(os.environ.get(STATE_SETTING) or f"{prefect_home()}/promptmill", place=None)


def _name_of(job: Job) -> str:
    digest = blake2b(job.output.url.encode(), digest_size=4).hexdigest()
    return f"{_FOLDER}/{job.name}-{digest}.json"


def register(job: Job, retry_failed: bool, flow_run_ids: tuple[str, ...], owner: str = "", now: float = 0.0) -> Entry:
    """Register a job; `owner` is the process that waits for its batches, if any. Raises: StorageFailed."""
    entry = Entry(_name_of(job), job, retry_failed, flow_run_ids, owner, now, is_ours=True)
    values = _values(entry)
    storage = registry()
    try:
        storage.write(entry.name, orjson.dumps({**values, "seal": seal(values)}))
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{storage.shown}/{entry.name} can't be written: {storage.describe(error)}. advance-batches finds the job "
            f"there ({STATE_SETTING}). "
            "Give access or set another place."
        ) from error
    return entry


def registered(job_name: str | None = None) -> list[Entry]:
    """All registered jobs, or those with this name. Raises: StorageFailed."""
    storage = registry()
    try:
        names = sorted(name for name in storage.sizes(_FOLDER) if name.endswith(".json"))
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{storage.shown} can't be read: {storage.describe(error)}. Check {STATE_SETTING} and the access to it."
        ) from error
    entries = [_read(storage, name) for name in names]
    return [entry for entry in entries if entry is not None and job_name in {None, entry.job.name}]


def registered_for(job: Job, today: date) -> list[Entry]:
    """The entries of a job file: they have its name, and an output that its template gives today or gave on an earlier day.

    Raises: StorageFailed; JobError when output.url is no template that can be rendered.
    """
    urls = {resolve_output(job, today - timedelta(days=back)).output.url for back in range(_DAYS_BACK)}
    return [entry for entry in registered(job.name) if entry.job.output.url in urls]


def _read(storage: Storage, name: str) -> Entry | None:
    """Read an entry; None if another process has just removed it, or if it is damaged. Raises: StorageFailed."""
    stored = _ENTRY.read(storage, name)
    if stored is None:
        return None
    entry = Entry(name, stored.job, stored.retry_failed, stored.flow_run_ids, stored.owner, stored.seen_at)
    return replace(entry, is_ours=is_sealed(_values(entry), stored.seal))


def _values(entry: Entry) -> dict[str, Any]:
    """The JSON values of an entry's object, which its seal covers."""
    return {
        "job": entry.job.model_dump(mode="json"),
        "retry_failed": entry.retry_failed,
        "flow_run_ids": list(entry.flow_run_ids),
        "owner": entry.owner,
        "seen_at": entry.seen_at,
    }


def unregister(entry: Entry) -> None:
    """Remove a job from the registry."""
    registry().delete([entry.name])


def unregister_job(job: Job) -> None:
    """Remove a job whose output is published; nothing happens if it isn't registered."""
    registry().delete([_name_of(job)])
