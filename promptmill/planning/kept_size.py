"""The size of an output's chunks, decided once and kept beside its checkpoints, so that later runs find the same chunks.

An output with many chunks and no such file was begun by an earlier version, and keeps that version's size.
"""

from dataclasses import dataclass

from pydantic import TypeAdapter

from promptmill.errors import StorageFailed
from promptmill.job.spec import Job
from promptmill.job.splitting import most_parts
from promptmill.limits.output_guess import UNKNOWN_OUTPUT_TOKENS
from promptmill.output.manifest import Manifest
from promptmill.planning.chunk_size import LEAST_ROWS, USUAL_ROWS, Workload, choose_chunk_rows
from promptmill.planning.head import MOST_UNPLANNED
from promptmill.planning.prepared_job import Prepared
from promptmill.planning.rendering import needed_columns, render_table, row_ids
from promptmill.records import Request
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS

_NAME = "chunk_rows.json"
_LOOKED_AT = 200  # rows whose requests tell how large the others are
_ASSUMED_IN_FLIGHT = 64  # where the number is found; a sample can't show how many the provider takes


@dataclass(frozen=True, slots=True)
class _Size:
    """What the file says."""

    job_digest: str  # another job decides for itself
    chunk_rows: int


_FORM: TypeAdapter[_Size] = TypeAdapter(_Size)
_FILE: StateFile[_Size] = StateFile(
    _FORM,
    purpose="It says how many rows the output's chunks have.",
    way_on="The run decides it again; every answer is found all the same.",
)


def chunk_rows_of(prepared: Prepared, sample: Manifest | None) -> int | None:
    """Rows of the output's chunks: as kept, or decided now; None where the job says it, or the rows are few.

    Blocks. Raises: StorageFailed.
    """
    if prepared.job.chunk_rows is not None:
        return None
    storage = prepared.store.storage
    found = _FILE.read(storage, _NAME)
    if found is not None and found.job_digest == prepared.digest and found.chunk_rows > 0:
        return found.chunk_rows
    if prepared.dataset.rows <= LEAST_ROWS:
        return None
    if len(prepared.store.listing().finished) > MOST_UNPLANNED:
        return USUAL_ROWS
    return choose_chunk_rows(prepared.job.chunk_seconds, _workload(prepared, sample))


def keep_chunk_rows(prepared: Prepared, chunk_rows: int | None) -> None:
    """Have later runs take this size. Blocks. Raises: StorageFailed."""
    if chunk_rows is None:
        return
    storage = prepared.store.storage
    try:
        storage.write(_NAME, _FORM.dump_json(_Size(prepared.digest, chunk_rows)))
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{storage.shown}/{_NAME} can't be written: {storage.describe(error)}. It says how many rows the output's chunks "
            "have. Make room or give access, then start the run again; nothing was sent."
        ) from error


def _workload(prepared: Prepared, sample: Manifest | None) -> Workload:
    job, dataset = prepared.job, prepared.dataset
    table = next(dataset.read(_LOOKED_AT, needed_columns(prepared.builder, job), stop=_LOOKED_AT), None)
    rows = 0 if table is None else table.num_rows
    ids = [] if table is None else row_ids(table, job.input.id_column, range(rows))
    rendered = [] if table is None else render_table(prepared.builder, table, ids, 0)
    requests = [request for request in rendered if isinstance(request, Request)]
    count = max(1, len(requests))
    tokens = sum(request.input_tokens for request in requests) / count
    size = sum(len(request.body) for request in requests) / count
    return Workload(
        dataset.rows,
        most_parts(job.processes, job.shards),
        size,
        _rows_a_second(job, tokens, _output_tokens(prepared), sample),
    )


def _output_tokens(prepared: Prepared) -> int:
    if prepared.job.request.endpoint == "embeddings":
        return 0
    limit = prepared.builder.max_output_tokens
    return UNKNOWN_OUTPUT_TOKENS if limit is None else limit


def _rows_a_second(job: Job, input_tokens: float, output_tokens: float, sample: Manifest | None) -> float | None:
    """How fast a run is, by its limits and by the last sample's latency, whichever is slower; None where nothing tells."""
    limits, rates = job.limits, list[float]()
    for each, limit in (
        (1.0, limits.requests_per_minute),
        (input_tokens + output_tokens, limits.tokens_per_minute),
        (input_tokens, limits.input_tokens_per_minute),
        (output_tokens, limits.output_tokens_per_minute),
    ):
        if limit is not None and each > 0:
            rates.append(limit / 60 / each)
    measured = None if sample is None else sample.measured
    if measured is not None and measured.seconds is not None and measured.seconds.mean > 0:
        most = _ASSUMED_IN_FLIGHT if job.limits.max_concurrency == "auto" else job.limits.max_concurrency
        rates.append(most / measured.seconds.mean)
    return min(rates, default=None)
