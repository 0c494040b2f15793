"""New parts take the place of old ones in steps; after a kill at any of them, the next command cleans up.

    1. upload the new parts completely; nobody sees them yet (promptmill/unpublished.py)
    2. write `_publishing.json`: it names the new parts and those of the standing manifest, so that both are known to be ours
    3. make the new parts visible, side by side
    4. write the report, then the manifest
    5. remove the parts that step 2 names and the manifest doesn't list; then `_publishing.json`

Between 3 and 5, for a second or two, a reader of the plain folder sees both versions; it never sees less than one.
We remove only parts that a manifest of ours or step 2 names.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, TypeAdapter

from promptmill.output.manifest import OUR_PART, Manifest, inside_output
from promptmill.processes import is_at_work, this_process
from promptmill.state_files import StateFile
from promptmill.storage import Storage
from promptmill.unpublished import UnpublishedFile, remove_abandoned

PUBLISHING = "_publishing.json"
FAILURES = "_failures"
_AT_ONCE = 16  # parts to publish or remove side by side; each is a request to an object store
_PUBLISHING_SECONDS = 120.0  # after which we take a publishing of another machine for dead
log = logging.getLogger("promptmill")

_PartPath = Annotated[str, AfterValidator(inside_output)]


@dataclass(frozen=True, slots=True)
class _Journal:
    """What `_publishing.json` says."""

    owner: str  # the process that publishes
    at: float  # seconds since the epoch
    parts: tuple[_PartPath, ...]  # the new ones
    replaced: tuple[_PartPath, ...]  # those of the manifest before


_FORM = TypeAdapter(_Journal)
_JOURNAL = StateFile(
    _FORM,
    purpose="It lists the parts of a publishing that was under way.",
    way_on="Parts that no manifest lists may stay in the folder: delete them, or give another output.url.",
)


def begin_publishing(storage: Storage, standing: Manifest | None, parts: Sequence[str]) -> None:
    """Write down which parts come and which may go. Raises: any of STORAGE_ERRORS."""
    journal = _Journal(this_process(), time.time(), tuple(parts), tuple(sorted(_listed(standing))))
    storage.write(PUBLISHING, _FORM.dump_json(journal))


def publish_side_by_side(files: Sequence[UnpublishedFile]) -> None:
    """Make finished files visible. Raises: any of STORAGE_ERRORS, after it has tried every file."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        futures = [threads.submit(file.publish) for file in files]
    for future in futures:
        future.result()


def settle_publishing(storage: Storage, standing: Manifest | None, *, is_ours: bool = False) -> None:
    """Remove what the last publishing left behind, if anything, except the parts that the standing manifest lists.

    Does nothing while another process publishes; `is_ours` says that it is this process's turn to publish.
    Raises: StorageFailed; any of STORAGE_ERRORS.
    """
    data = _JOURNAL.bytes(storage, PUBLISHING)
    if data is None:
        return
    journal = _JOURNAL.read(storage, PUBLISHING)
    if journal is not None:
        if not is_ours and is_at_work(journal.owner, time.time() - journal.at, _PUBLISHING_SECONDS):
            return
        _remove(storage, {*journal.parts, *journal.replaced} - _listed(standing))
    storage.delete([PUBLISHING])


def begin_upload(storage: Storage) -> None:
    """Remove temporary files that a killed publishing left on a local disk. Raises: OSError."""
    if storage.is_local:
        for folder in (*_folders_of_values(Path(storage.path(""))), Path(storage.path(FAILURES))):
            remove_abandoned(str(folder), time.time())


def unlisted_parts(names: Iterable[str], manifest: Manifest) -> list[str]:
    """Those of an output's files that are parts and not in its manifest; a reader of the plain folder takes their rows too."""
    found = {name for name in names if OUR_PART.fullmatch(name)}
    return sorted(found - _listed(manifest))


def _remove(storage: Storage, names: set[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(lambda name: storage.delete([name]), sorted(names)):
            pass
    if storage.is_local:
        _remove_empty_folders(storage, names)


def _remove_empty_folders(storage: Storage, names: Iterable[str]) -> None:
    """Remove the folders of output.partition_by in which no part is left."""
    above = {folder for name in names for folder in PurePosixPath(name).parents if "=" in folder.name}
    for folder in sorted(above, key=lambda folder: len(folder.parts), reverse=True):
        with suppress(OSError):  # there is something in it
            Path(storage.path(str(folder))).rmdir()


def _folders_of_values(folder: Path) -> Iterator[Path]:
    """A local folder and those of output.partition_by below it."""
    yield folder
    for inner in folder.glob("[!._]*=*/"):
        yield from _folders_of_values(inner)


def _listed(manifest: Manifest | None) -> set[str]:
    return set() if manifest is None else {part.path for part in (*manifest.parts, *manifest.failure_parts)}
