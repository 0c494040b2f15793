"""Making new parts visible in place of old ones, so that a kill at any point can be cleaned up by the next command.

    1. the parts are uploaded completely, and nobody sees them (promptmill/unpublished.py)
    2. `_publishing.json` names the new parts and those of the standing manifest: from now on they are known to be ours
    3. the new parts become visible, side by side
    4. report, then the manifest
    5. parts that the manifest doesn't list, and that step 2 names, are removed; then `_publishing.json`

A reader of the plain folder sees both versions between 3 and 5, which takes a second or two, and never less than one of
them. Only names that a manifest of ours or step 2 lists are ever removed.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, cast

from pydantic import AfterValidator, TypeAdapter

from promptmill.output.manifest import PART_NAME, Manifest, inside_output
from promptmill.processes import is_at_work, this_process
from promptmill.state_files import StateFile
from promptmill.storage import Storage
from promptmill.unpublished import UnpublishedFile, remove_abandoned

PUBLISHING = "_publishing.json"
FAILURES = "_failures"
_AT_ONCE = 16  # parts published or removed side by side; each is a request to an object store
_PUBLISHING_SECONDS = 120.0  # after which another machine's steps 3 to 5 are taken for dead
log = logging.getLogger("promptmill")

_PartPath = Annotated[str, AfterValidator(inside_output)]


@dataclass(frozen=True, slots=True)
class _Journal:
    """What `_publishing.json` says."""

    owner: str  # the process that publishes
    at: float  # seconds since the epoch
    parts: tuple[_PartPath, ...]  # that become visible
    replaced: tuple[_PartPath, ...]  # of the manifest that stood


_FORM = TypeAdapter(_Journal)
_JOURNAL = StateFile(
    _FORM,
    purpose="It lists the parts of a publishing that was under way.",
    way_on="Parts that no manifest lists may stay in the folder: delete them, or give another output.url.",
)


def begin_publishing(storage: Storage, standing: Manifest | None, parts: Sequence[str]) -> None:
    """Write down which parts come and which go. Raises: any of STORAGE_ERRORS."""
    journal = _Journal(this_process(), time.time(), tuple(parts), tuple(sorted(_listed(standing))))
    storage.write(PUBLISHING, _FORM.dump_json(journal))


def publish_side_by_side(files: Sequence[UnpublishedFile]) -> None:
    """Make finished files visible. Raises: any of STORAGE_ERRORS, once every file was tried."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        futures = [threads.submit(file.publish) for file in files]
    for future in futures:
        future.result()


def settle_publishing(storage: Storage, standing: Manifest | None, *, is_ours: bool = False) -> None:
    """Remove what the last publishing left behind besides the parts of the manifest that stands, if anything.

    Leaves alone what another process is publishing right now; `is_ours` says that it's this process's turn to publish.
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
        for folder in ("", FAILURES):
            remove_abandoned(storage.path(folder), time.time())


def unlisted_parts(storage: Storage, manifest: Manifest) -> list[str]:
    """Parts in the folder that its manifest doesn't list; a reader of the plain folder takes their rows too."""
    found = [*_part_names(storage, ""), *_part_names(storage, FAILURES)]
    return sorted(set(found) - _listed(manifest))


def _remove(storage: Storage, names: set[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(lambda name: storage.delete([name]), sorted(names)):
            pass


def _listed(manifest: Manifest | None) -> set[str]:
    return set() if manifest is None else {part.path for part in (*manifest.parts, *manifest.failure_parts)}


def _part_names(storage: Storage, folder: str) -> list[str]:
    """Parts that lie right in a folder; the checkpoints below it, which may be many, aren't listed."""
    try:
        paths = cast(list[str], storage.fs.ls(storage.path(folder), detail=False))
    except FileNotFoundError:
        return []
    names = [path.rsplit("/", 1)[-1] for path in paths]
    return [f"{folder}/{name}" if folder else name for name in names if PART_NAME.fullmatch(name)]
