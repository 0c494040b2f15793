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
            each = max(1.0, part.nbytes / part.num_rows)
            fitting = max(0 if held else 1, int((most_bytes - size) / each))
            held.append(part.slice(0, min(fitting, most_rows - rows)))
            part = part.slice(held[-1].num_rows)
            rows, size = rows + held[-1].num_rows, size + held[-1].nbytes
            if rows == most_rows or part.num_rows:
                yield pa.concat_tables(held).combine_chunks()
                held, rows, size = [], 0, 0
    if held:
        yield pa.concat_tables(held).combine_chunks()
