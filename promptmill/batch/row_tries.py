"""How often each row was in a batch that is over, and how often the provider may have billed it for nothing we can use.

A row counts as bought when a batch that the provider calls completed brought no answer for it and no reason either: its line
was lost, or is an answer that nobody can read. Expired and cancelled batches leave rows out that were never run.
Where the provider's own counts say that a lost line was answered, its row isn't submitted again in this run.
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
    """What batches that are over did for each row that they brought no answer for."""

    def __init__(self, ledger: Ledger, records: Sequence[BatchRecord]) -> None:
        """Reads the ledger's files of these records, which are collected. Raises: StorageFailed."""
        ids = {record.key: ledger.ids(record) for record in records}
        left = {record.key: table for record in records if (table := ledger.leftovers(record)) is not None}
        self._tables = list(left.values())
        self._tried = RowCounts(ids[record.key] for record in records if not record.is_halted)
        billed = [record.key for record in records for _ in range(bought_at_once(record))]
        self._billed = RowCounts(ids[key] for key in billed)
        self._excused = RowCounts(_unbilled(left[key]) for key in billed if key in left)

    def tried(self, hashes: Sequence[int]) -> NDArray[np.int64]:
        """How often each row was submitted; batches that stopped the run don't count."""
        return self._tried.of(hashes)

    def bought(self, hashes: Sequence[int]) -> NDArray[np.int64]:
        """How often each row may have been billed, if it has no answer."""
        return self._billed.of(hashes) - self._excused.of(hashes)

    def last_words(self, custom_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Why rows have no answer, by the last batch of each; none for rows that no batch said anything of."""
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
