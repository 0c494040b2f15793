"""The versions at which a run reads its tables, kept beside its checkpoints until its output is published.

A run that is started again, a shard and a step of batches read the tables as they were when the run began: otherwise each
commit to a table would make another dataset of it, whose rows have other numbers. The next run after the output is
published takes the newest version.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter

from promptmill.errors import StorageFailed
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS, Storage

PINNED = "table_versions.json"


@dataclass(frozen=True, slots=True)
class _Pinned:
    """What the file says."""

    job_digest: str  # of the run's job; another job begins with the newest versions
    versions: dict[str, str]  # public URL → version


_FORM: TypeAdapter[_Pinned] = TypeAdapter(_Pinned)
_RECORD: StateFile[_Pinned] = StateFile(
    _FORM,
    purpose="It says at which versions the run reads its tables.",
    way_on="The run takes the newest versions instead.",
)


def read_pinned(checkpoints: Storage, job_digest: str) -> Mapping[str, str]:
    """The versions of an unfinished run of this job; empty if there is none. Raises: StorageFailed."""
    found = _RECORD.read(checkpoints, PINNED)
    return found.versions if found is not None and found.job_digest == job_digest else {}


def keep_versions(checkpoints: Storage, job_digest: str, versions: Mapping[str, str]) -> None:
    """Have later processes of a run read these versions, if it reads tables. Raises: StorageFailed."""
    if not versions:
        return
    try:
        checkpoints.write(PINNED, _FORM.dump_json(_Pinned(job_digest, dict(versions))))
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{checkpoints.shown}/{PINNED} can't be written: {checkpoints.describe(error)}. It says at which versions the run "
            "reads its tables. Make room or give access, then start the run again; nothing was sent."
        ) from error


def forget_versions(checkpoints: Storage, versions: Mapping[str, str]) -> None:
    """Let the next run take the newest versions. Raises: any of STORAGE_ERRORS."""
    if versions:
        checkpoints.delete([PINNED])
