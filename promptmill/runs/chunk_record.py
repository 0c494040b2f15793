"""What the checkpoint says of a finished chunk."""

from dataclasses import dataclass

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.job.identity import SCHEMA_VERSION
from promptmill.planning.plan import Chunk


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """What the checkpoint says of a finished chunk; the answers lie in the file named by its key."""

    key: str
    rows: int
    succeeded: int
    failed: int
    sent: int  # rows that this task sent
    cost_usd: str  # decimal
    version: int = SCHEMA_VERSION
    shared: int = 0  # rows that take the answer of another row


def record_chunk(chunk: Chunk, answers: pa.Table, sent: int = 0) -> ChunkRecord:
    """What the checkpoint says of a chunk with these answers."""
    shared = answers.num_rows - answers["answered_by"].null_count
    succeeded = answers["kind"].null_count - shared
    cost = pc.sum(answers["cost_usd"]).as_py() or ZERO_USD
    return ChunkRecord(
        key=chunk.key,
        rows=answers.num_rows,
        succeeded=succeeded,
        failed=answers.num_rows - shared - succeeded,
        sent=sent,
        cost_usd=str(cost),
        shared=shared,
    )
