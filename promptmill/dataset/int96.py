"""Times that Spark, Hive and Impala store as INT96, which reach far beyond the years 1677 to 2262 of nanoseconds.

Arrow 26 reads them as nanoseconds and wraps in silence: 9999-12-31 becomes 1816-03-29. So we read microseconds, unless a
value has digits below them.
"""

from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.arrow import pc

_BATCH_ROWS = 10_000


def has_int96(parquet: pq.ParquetFile) -> bool:
    """Whether a file holds such times."""
    return bool(_indices(parquet))


def has_nanoseconds(coarse: pq.ParquetFile, fine: pq.ParquetFile) -> bool:
    """Whether such a time has digits below microseconds; the same file, opened for microseconds and for nanoseconds.

    Times inside lists and structs aren't looked at. Raises: pa.ArrowException.
    """
    indices = _indices(coarse)
    pairs = zip(_batches(coarse, indices), _batches(fine, indices), strict=True)
    return any(_differ(a, b) for coarser, finer in pairs for a, b in zip(coarser, finer, strict=True))


def _batches(parquet: pq.ParquetFile, indices: list[int]) -> Any:
    groups = list(range(parquet.metadata.num_row_groups))
    return cast(Any, parquet).reader.iter_batches(_BATCH_ROWS, groups, column_indices=indices, use_threads=False)


def _differ(coarse: pa.Array, fine: pa.Array) -> bool:
    if not (pa.types.is_timestamp(coarse.type) and pa.types.is_timestamp(fine.type)):
        return False
    wrapped = pc.multiply(coarse.view(pa.int64()), 1_000)  # wraps as the reading of nanoseconds does
    return bool(pc.any(pc.not_equal(wrapped, fine.view(pa.int64())), min_count=0).as_py())


def _indices(parquet: pq.ParquetFile) -> list[int]:
    schema = cast(Any, parquet.schema)
    return [place for place in range(len(schema)) if schema.column(place).physical_type == "INT96"]
