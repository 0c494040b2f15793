"""Counts how often each row was in a batch that is over, and how often the provider may have billed it for nothing.

A row counts as bought if a completed batch brought neither an answer for it nor a reason: its line was lost, or nobody can
read the answer. Rows that an expired or cancelled batch leaves out were never run.
If the provider's own counts say that it answered a lost line, this run doesn't submit the row again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.arrow import pc
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.row_counts import RowCounts
from promptmill.checkpoints.answer_files import merge_answers
from promptmill.checkpoints.index import hash_custom_id

MOST_BOUGHT = 2  # as online


class RowTries:
    """The tries of each row that got no answer from batches that are over."""

    def __init__(self, ledger: Ledger, records: Sequence[BatchRecord]) -> None:
        """Reads the ledger's files of these collected batches. Raises: StorageFailed."""
        ids = {record.key: ledger.ids(record) for record in records}
        left = {record.key: table for record in records if (table := ledger.leftovers(record)) is not None}
        self._tables = list(left.values())
        self._tried = RowCounts(ids[record.key] for record in records if not record.is_halted)
        billed = [record.key for record in records for _ in range(bought_at_once(record))]
        self._billed = RowCounts(ids[key] for key in billed)
        self._excused = RowCounts(_unbilled(left[key]) for key in billed if key in left)

    def tried(self, hashes: Sequence[int]) -> NDArray[np.int64]:
        """How often each row was submitted, not counting batches that stopped the run."""
        return self._tried.of(hashes)

    def bought(self, hashes: Sequence[int]) -> NDArray[np.int64]:
        """How often the provider may have billed each row that has no answer."""
        return self._billed.of(hashes) - self._excused.of(hashes)

    def last_words(self, custom_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Why rows have no answer, by the last batch of each row; rows without a reason are left out."""
        last = merge_answers(self._tables)
        return last.filter(pc.is_in(last["custom_id"], pa.array(custom_ids, pa.string()))).to_pylist()


def bought_at_once(record: BatchRecord) -> int:
    """How often a batch that is over may have billed a row for nothing."""
    if record.status != "completed" or record.failed >= record.requests:
        return 0
    return MOST_BOUGHT if record.is_lossy else 1


def _unbilled(leftovers: pa.Table) -> NDArray[np.uint64]:
    """Hashes of the rows that weren't run, or failed at the server."""
    is_bought = pc.and_(pc.equal(leftovers["kind"], "invalid_response"), pc.equal(leftovers["http_status"], 200))
    names = leftovers.filter(pc.invert(pc.fill_null(is_bought, False)))["custom_id"].to_pylist()
    return np.fromiter((hash_custom_id(name) for name in names), np.uint64, len(names))
