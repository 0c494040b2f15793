"""The plan of a large input, kept beside the checkpoints, so that the next run of the same rows plans in seconds.

    _checkpoints/plan.json

It holds as long as the input, the request, the size of chunks and the version of the code are those that it was made of.
Each chunk that is rendered later is proved to be the planned one (rows.py). A finished chunk isn't rendered again, so the plan
itself must be ours: a seal proves it, and a plan of another home isn't taken. Deleting the file costs one pass of planning.
"""

import logging
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson
from pydantic import TypeAdapter

from promptmill.dataset.dataset import fingerprint_of
from promptmill.errors import DatasetError
from promptmill.planning.chunks import Chunk, Plan
from promptmill.planning.prepared_job import Prepared
from promptmill.seals import is_sealed, seal
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS
from promptmill.version import VERSION

log = logging.getLogger("promptmill")
_NAME = "plan.json"
_LEAST_ROWS = 10_000  # a smaller input is planned in less than a second


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the file says."""

    source: str  # digest of what was planned
    sizes: tuple[int, ...]  # rows of each chunk; what follows is of each chunk too
    keys: tuple[str, ...]
    tokens: tuple[int, ...]
    unrendered: tuple[int, ...]
    taking: tuple[str, ...]  # places as sharing.py has them
    giving: tuple[str, ...]
    repeating: tuple[int, ...]  # numbers of the chunks with rows that repeat an earlier custom_id
    repetitions: tuple[tuple[int, int], ...]
    first_unrendered: tuple[int, str] | None
    largest: tuple[int, int]
    seal: str = ""  # of all this (seals.py)

    @property
    def values(self) -> dict[str, Any]:
        """What the seal proves, as JSON values."""
        return _FORM.dump_python(replace(self, seal=""), mode="json")


_FORM: TypeAdapter[_Kept] = TypeAdapter(_Kept)
_FILE: StateFile[_Kept] = StateFile(
    _FORM,
    purpose="It keeps the next run of the same rows from planning them again.",
    way_on="The run plans all rows and writes the file again.",
)


def keep_plan(prepared: Prepared, plan: Plan) -> None:
    """Keep a whole plan for the next run of the same rows; a storage that doesn't take it is no error. Blocks.

    A plan of an input that changed while it was read is nobody's: it mixes rows, and the input may come back as it was.
    """
    if plan.rows < _LEAST_ROWS or plan.drawn or not _is_told_apart(prepared) or _has_changed(prepared):
        return
    chunks = plan.chunks
    kept = _Kept(
        source=_source(prepared, plan.chunk_rows),
        sizes=tuple(chunk.rows for chunk in chunks),
        keys=tuple(plan.keys),
        tokens=tuple(chunk.input_tokens for chunk in chunks),
        unrendered=tuple(chunk.unrendered for chunk in chunks),
        taking=tuple(chunk.taking for chunk in chunks),
        giving=tuple(chunk.giving for chunk in chunks),
        repeating=tuple(chunk.index for chunk in chunks if chunk.has_repetitions),
        repetitions=tuple(plan.repetitions.items()),
        first_unrendered=plan.first_unrendered,
        largest=plan.largest,
    )
    try:
        prepared.store.storage.write(_NAME, _FORM.dump_json(replace(kept, seal=seal(kept.values))))
    except STORAGE_ERRORS as error:
        log.warning("the plan isn't kept for the next run: %s", prepared.store.storage.describe(error))


def find_plan(prepared: Prepared, chunk_rows: int | None) -> Plan | None:
    """The plan that an earlier run of this user kept of these very rows; None if there is none.

    Blocks. Raises: StorageFailed.
    """
    if prepared.dataset.rows < _LEAST_ROWS or prepared.dataset.drawn or not _is_told_apart(prepared):
        return None
    found = _FILE.read(prepared.store.storage, _NAME)
    if found is None or found.source != _source(prepared, chunk_rows) or not is_sealed(found.values, found.seal):
        return None
    return _plan_of(found, prepared.dataset.fingerprint, chunk_rows)


def forget_plan(prepared: Prepared) -> None:
    """Have the next run plan all rows: these aren't the planned ones. Blocks; a storage that fails is no error."""
    try:
        prepared.store.storage.delete([_NAME])
    except STORAGE_ERRORS as error:
        log.warning("the kept plan can't be removed: %s", prepared.store.storage.describe(error))


def _is_told_apart(prepared: Prepared) -> bool:
    """Whether a changed file has another fingerprint: some web servers tell nothing that changes with the content."""
    return all(file.version for file in prepared.dataset.files)


def _has_changed(prepared: Prepared) -> bool:
    """Whether the input isn't any more what it was when it was opened. Blocks."""
    job, dataset = prepared.job, prepared.dataset
    if dataset.is_held:
        return False
    try:
        return fingerprint_of(job.input, job.output.url, dataset.versions) != dataset.fingerprint
    except DatasetError:
        return True


def _plan_of(kept: _Kept, fingerprint: str, chunk_rows: int | None) -> Plan:
    chunks, start = list[Chunk](), 0
    repeating = set(kept.repeating)
    for index, rows in enumerate(kept.sizes):
        facts = (kept.keys[index], kept.tokens[index], kept.unrendered[index], index in repeating)
        chunks.append(Chunk(index, start, rows, *facts, kept.taking[index], kept.giving[index]))
        start += rows
    return Plan(
        chunks=chunks,
        rows=start,
        input_tokens=sum(kept.tokens),
        unrendered=sum(kept.unrendered),
        shared=sum(chunk.shared for chunk in chunks),
        first_unrendered=kept.first_unrendered,
        largest=kept.largest,
        repetitions=dict(kept.repetitions),
        fingerprint=fingerprint,
        chunk_rows=chunk_rows,
    )


def _source(prepared: Prepared, chunk_rows: int | None) -> str:
    """A digest of all that a plan depends on."""
    job = prepared.job
    parts = [
        VERSION,
        prepared.identity,
        prepared.counter.label,
        prepared.builder.limit.context_tokens,  # longer rows aren't sent
        job.input.model_dump(mode="json"),
        job.request.model_dump(mode="json"),
        job.output.partition_by,
        [job.chunk_rows, chunk_rows],
    ]
    return blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
