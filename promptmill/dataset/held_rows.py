"""Rows of a database, copied once to this machine's disk: all passes of a run read the copy, which nobody else changes.

A database has no version that a later process could ask for. So the rows' own digest stands for it: equal rows in equal
order are the same input, and a run that is started again finds out whether they still are.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b

import pyarrow as pa

from promptmill.column_casts import cast_column
from promptmill.column_types import ARROW_ERRORS, carried_type
from promptmill.dataset.spool import Spool
from promptmill.errors import DatasetError

BATCH_ROWS = 1_000


class HeldRows:
    """A source over rows that are read now. Raises: DatasetError."""

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], note: str, shown: str) -> None:
        repeated = [name for name, times in Counter(schema.names).items() if times > 1]
        if repeated:
            raise DatasetError(
                f"{shown} has more than one column {', '.join(map(repr, repeated))}; a name stands for one column "
                "(input.query). Name them by AS."
            )
        self.schema = _carried(schema)
        self.notes = (note,)
        self.has_marks = False
        self._spool = Spool(self.schema)
        digest = blake2b(self.schema.serialize(), digest_size=16)
        for batch in _even(batches):
            found = self._fitted(batch, shown)
            digest.update(found.serialize())
            self._spool.write(found)
        self._spool.finish()
        self.digest = digest.hexdigest()
        self.rows = self._spool.rows
        if not self.rows:
            raise DatasetError(
                f"{shown} has 0 rows; at least 1 is needed (input.url, input.query). Give a table or a query with rows."
            )

    def blocks(self, columns: list[str], start: int, tries: Collection[str] = ()) -> Iterator[pa.Table]:
        """As Source has it; whole rows are read, so there is nothing left to try."""
        reader = self._spool.open()
        for number in self._spool.batches(start):
            table = pa.Table.from_batches([reader.get_batch(number)]).select(columns)
            yield table.slice(max(0, start - self._spool.first_row(number)))

    def _fitted(self, table: pa.Table, shown: str) -> pa.RecordBatch:
        """The rows with columns that can reach the output, in buffers of their own. Raises: DatasetError."""
        places = pa.array(range(table.num_rows))  # what isn't of these rows would change the digest
        columns: list[pa.Array] = []
        for field in self.schema:
            try:
                columns.append(cast_column(table[field.name], field.type).combine_chunks().take(places))
            except ARROW_ERRORS as error:
                raise DatasetError(
                    f"{shown} has a value in the column {field.name!r} that {field.type} can't hold: {error} (input.query). "
                    "Make the column a text in the query."
                ) from error
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _even(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows in tables of BATCH_ROWS rows, but for the last: their digest may not depend on the database's blocks."""
    held: list[pa.Table] = []
    for batch in batches:
        found = pa.concat_tables([*held, pa.Table.from_batches([batch])])
        while found.num_rows >= BATCH_ROWS:
            yield found.slice(0, BATCH_ROWS)
            found = found.slice(BATCH_ROWS)
        held = [found]
    if held and held[0].num_rows:
        yield held[0]


def _carried(schema: pa.Schema) -> pa.Schema:
    found = [(field, carried_type(field.type)) for field in schema]
    return pa.schema([pa.field(field.name, field.type if kind is None else kind) for field, kind in found])
