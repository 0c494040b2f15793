"""A Parquet file, and what it may take of memory: a small file can say that a lot of it stands there.

Its footer is held whole, at up to 17 times its bytes. A page may grow a thousandfold when it is decompressed. The footer
tells this, so a file is refused before its rows are read. What it doesn't tell: repeated_texts.py. We believe the footer.
"""

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.column_types import leaves_of
from promptmill.dataset.files import InputFile
from promptmill.dataset.shapes import refuse_wide
from promptmill.dataset.streams import refuse_bomb
from promptmill.errors import DatasetError

BUFFER_BYTES = 1 << 20  # for each column that is read
_TAIL_BYTES = 1 << 16  # what Arrow reads first, so that looking at the footer's length costs no request of its own
_MAX_FOOTER_BYTES = 20 << 20  # 180,000 column chunks have such a footer
_MAX_LIST = 250_000  # row groups, or columns with what is inside them
_FREE_VALUES = 1 << 24  # in the lists of a column chunk
_MAX_VALUES_A_ROW = 10_000  # in these lists on average, above that; an embedding has up to 4,096


def open_parquet(opened: IO[bytes], shown: str, int96_unit: str) -> pq.ParquetFile:
    """The file; closing it closes `opened` too. Raises: DatasetError when it is beyond a bound; pa.ArrowException."""
    size = opened.seek(0, 2)
    opened.seek(-min(size, _TAIL_BYTES), 2)
    (footer,) = struct.unpack("<I", opened.read()[-8:-4].ljust(4, b"\0"))
    opened.seek(0)
    if size > footer > _MAX_FOOTER_BYTES:
        raise DatasetError(
            f"{shown} has a footer of {footer:,} bytes; the limit is {_MAX_FOOTER_BYTES:,}, since all of it is held in memory "
            "(input.url). Write it with fewer columns and larger row groups, or as several files."
        )
    file = pq.ParquetFile(
        opened,
        pre_buffer=False,
        buffer_size=BUFFER_BYTES,
        thrift_container_size_limit=_MAX_LIST,
        coerce_int96_timestamp_unit=int96_unit,
        page_checksum_verification=True,  # which few writers write; without it, other bytes would be other values
    )
    refuse_wide(shown, file.metadata.num_columns)
    return file


def schema_of(file: InputFile, parquet: pq.ParquetFile) -> pa.Schema:
    """The file's columns. Raises: DatasetError when a name isn't UTF-8."""
    schema = parquet.schema_arrow.remove_metadata()
    try:
        _ = schema.names
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{file.shown} has a column whose name isn't UTF-8 ({error}); a name is valid Unicode (input.url). Rename it."
        ) from error
    return schema


def corrupt(file: InputFile, error: Exception) -> DatasetError:
    """The error for a file that Arrow can't read."""
    return DatasetError(
        f"{file.shown} isn't Parquet that can be read: {error}. A run reads every row (input.url). Write the file again."
    )


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file's footer says of its columns."""

    faults: Mapping[str, str]  # column → why it can't be read within the bounds
    rows: int = 0

    def require(self, columns: Collection[str]) -> None:
        """Raises: DatasetError when one of these columns is beyond a bound."""
        for name in columns:
            if name in self.faults:
                raise DatasetError(self.faults[name])


def survey(file: pq.ParquetFile, shown: str) -> Survey:
    """What the file's footer says of the sizes of its columns; their rows aren't read."""
    faults: dict[str, str] = {}
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for index in range(group.num_columns):
            chunk = group.column(index)
            try:
                _refuse_large(shown, chunk, group.num_rows)
            except DatasetError as error:
                faults[_top(file, index)] = str(error)
    return Survey(faults, file.metadata.num_rows)


def _top(file: pq.ParquetFile, leaf: int) -> str:
    """The column of a leaf; the leaf's path doesn't tell, since a name may have dots."""
    end = 0
    for column in file.schema_arrow:
        end += leaves_of(column.type)
        if leaf < end:
            return column.name
    return ""


def _refuse_large(shown: str, chunk: Any, rows: int) -> None:
    if chunk.compression != "UNCOMPRESSED":
        refuse_bomb(
            f"{shown}, column {chunk.path_in_schema!r},", chunk.total_compressed_size, chunk.total_uncompressed_size
        )
    if chunk.num_values > _FREE_VALUES and chunk.num_values > _MAX_VALUES_A_ROW * rows:
        raise DatasetError(
            f"{shown}, column {chunk.path_in_schema!r}, has {chunk.num_values:,} values in {rows:,} rows; the limit is "
            f"{_MAX_VALUES_A_ROW:,} a row on average (input.url). Split long lists over several rows, or leave the column out."
        )
