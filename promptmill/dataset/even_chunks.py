"""Rows in chunks that end after so many rows, or before they take too much memory."""

from collections.abc import Collection, Iterator

import pyarrow as pa

from promptmill.dataset.dataset import Dataset


def read_by_bytes(
    dataset: Dataset, most_rows: int, most_bytes: int, columns: Collection[str], tries: Collection[str] = ()
) -> Iterator[pa.Table]:
    """All rows, in chunks of `most_rows`, or of fewer where these would take more than about `most_bytes`.

    As `Dataset.read` has it. Equal rows in equal blocks give equal chunks. Raises: DatasetError.
    """
    held: list[pa.Table] = []
    rows = size = 0
    for piece in dataset.pieces(most_rows, columns, tries=tries):
        part = piece
        while part.num_rows:
            fitting = _fitting(part.slice(0, most_rows - rows), most_bytes - size)
            held.append(part.slice(0, max(0 if held else 1, fitting)))
            part = part.slice(held[-1].num_rows)
            rows, size = rows + held[-1].num_rows, size + held[-1].nbytes
            if rows == most_rows or part.num_rows:
                yield pa.concat_tables(held).combine_chunks()
                held, rows, size = [], 0, 0
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _fitting(table: pa.Table, most_bytes: int) -> int:
    """How many of the first rows take at most so many bytes, or somewhat fewer where rows differ in size."""
    rows = table.num_rows
    while rows and (size := table.slice(0, rows).nbytes) > most_bytes:
        rows = min(rows - 1, rows * max(0, most_bytes) // size)
    return rows
