"""How many rows of a Parquet file are read at once, where a few bytes can stand for a lot of text.

A text that stands once in a dictionary may stand for each of a million rows. With the encoding DELTA_BYTE_ARRAY a text may
begin with all of the text before it. The longest text that can be repeated bounds the bytes of a row. Where lists hold texts
of a dictionary, one row may have most of them: there, each row's texts are counted by their 4-byte numbers in it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.arrow import pc
from promptmill.dataset.parquet_file import BUFFER_BYTES
from promptmill.errors import DatasetError

_BATCH_ROWS = 1_000
_BATCH_BYTES = 1 << 24
_MAX_ROW_BYTES = 96 << 20  # in one column
_REPEATING = "DELTA_BYTE_ARRAY"
_CODED = frozenset(
    {"PLAIN", "PLAIN_DICTIONARY", "RLE", "RLE_DICTIONARY", "BIT_PACKED"}
)  # encodings of a leaf with a dictionary
_SMALL_BYTES = 1 << 15  # of a column chunk: no text in it is longer
_MOST_CODED_BYTES = 1 << 24  # of a column chunk that is read as numbers: texts outside of its dictionary are held too


@dataclass(frozen=True, slots=True)
class RepeatedTexts:
    """How large the rows of one file can be; what was found is kept."""

    shown: str
    reopen: Callable[[], IO[bytes]]
    row_bytes: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])  # by (group, leaf)

    def batches(self, file: pq.ParquetFile, groups: Sequence[int], leaves: list[int]) -> Iterator[pa.RecordBatch]:
        """The rows of these row groups, in batches that fit in memory. Raises: DatasetError; pa.ArrowException.

        Leaves are counted over the whole schema, as a file has them.
        """
        reader = cast(Any, file).reader  # ParquetFile itself takes names only
        for looks, alike in groupby(groups, lambda group: bool(_suspects(file, group, leaves))):
            # a look may read a group's dictionaries, so each such group waits for its turn; the others are read together
            for together in ([group] for group in alike) if looks else [list(alike)]:
                count = self._rows_at_once(file, together[0], leaves)
                found = reader.iter_batches(count, row_groups=together, column_indices=leaves, use_threads=False)
                yield from _gathered(found) if count < _BATCH_ROWS else found

    def can_decode(self, file: pq.ParquetFile, group: int, leaves: list[int]) -> bool:
        """Whether all values of these leaves of a row group can be decoded; each is one that `stays_coded`.

        Their texts stay in their dictionary, which is held once however often its texts are repeated. Leaf by leaf, since a
        writer whose dictionary is full writes all further texts behind it, and a batch may hold all of these.
        """
        try:
            return all(
                _are_in_dictionary(found) for leaf in leaves for found in self._coded(file, group, leaf, _BATCH_ROWS)
            )
        except pa.ArrowException:
            return False

    def _rows_at_once(self, file: pq.ParquetFile, group: int, leaves: Sequence[int]) -> int:
        suspects = _suspects(file, group, leaves)
        for leaf in suspects:
            if (group, leaf) not in self.row_bytes:
                self.row_bytes[group, leaf] = self._bytes_of_a_row(file, group, leaf)
        total = sum(self.row_bytes[group, leaf] for leaf in suspects)
        return max(1, min(_BATCH_ROWS, int(_BATCH_BYTES / max(total, 1))))

    def _bytes_of_a_row(self, file: pq.ParquetFile, group: int, leaf: int) -> float:
        """A leaf's bytes in a row; where lists hold texts of a dictionary, in the row that has most."""
        found, column = file.metadata.row_group(group), cast(Any, file.schema).column(leaf)
        chunk = found.column(leaf)
        longest = self._longest_text(file, group, leaf)
        is_countable = column.max_repetition_level and chunk.has_dictionary_page and _REPEATING not in chunk.encodings
        if not is_countable or longest * chunk.num_values <= _MAX_ROW_BYTES:
            return longest * chunk.num_values / max(found.num_rows, 1)
        if max(self._decoded(file, group, leaf, _BATCH_ROWS), default=0) <= _BATCH_BYTES:
            return _SMALL_BYTES
        heaviest = 0
        for row, size in enumerate(self._decoded(file, group, leaf, 1)):
            if size > _MAX_ROW_BYTES:
                raise DatasetError(
                    f"{self.shown}, column {chunk.path_in_schema!r}, row {row:,} of row group {group}, holds {size:,} bytes of "
                    f"text; the limit is {_MAX_ROW_BYTES:,} (input.url). Split its list over several rows, or leave the column "
                    "out."
                )
            heaviest = max(heaviest, size)
        return heaviest

    def _longest_text(self, file: pq.ParquetFile, group: int, leaf: int) -> int:
        """The bytes of the longest text that a leaf's rows can repeat. Raises: pa.ArrowException."""
        chunk = file.metadata.row_group(group).column(leaf)
        if chunk.physical_type == "FIXED_LEN_BYTE_ARRAY":
            return cast(Any, file.schema).column(leaf).length
        if _REPEATING in chunk.encodings:
            return chunk.total_uncompressed_size  # each byte of a text stands in the column chunk at least once
        looks = islice(self._coded(file, group, leaf, 1), 1)
        found = [pc.max(lengths).as_py() or 0 for column in looks for lengths, _ in _dictionaries(column)]
        return max(found, default=chunk.total_uncompressed_size)

    def _decoded(self, file: pq.ParquetFile, group: int, leaf: int, rows: int) -> Iterator[int]:
        """The bytes that so many rows' texts will take, batch by batch."""
        for column in self._coded(file, group, leaf, rows):
            yield sum(pc.sum(lengths.take(numbers)).as_py() or 0 for lengths, numbers in _dictionaries(column))

    def _coded(self, file: pq.ParquetFile, group: int, leaf: int, rows: int) -> Iterator[pa.Array]:
        """A leaf's values as numbers in its dictionary, so many rows at once."""
        with pq.ParquetFile(
            self.reopen(),
            metadata=file.metadata,
            pre_buffer=False,
            buffer_size=BUFFER_BYTES,
            read_dictionary=[file.metadata.row_group(group).column(leaf).path_in_schema],
            page_checksum_verification=True,
        ) as coded:
            reader = cast(Any, coded).reader
            for batch in reader.iter_batches(rows, row_groups=[group], column_indices=[leaf], use_threads=False):
                yield from batch.columns


def stays_coded(file: pq.ParquetFile, group: int, leaf: int) -> bool:
    """Whether a leaf outside of lists has texts in a dictionary that its values can be read as numbers of."""
    chunk = file.metadata.row_group(group).column(leaf)
    return (
        _may_repeat_long_texts(chunk)
        and chunk.total_uncompressed_size <= _MOST_CODED_BYTES
        and chunk.physical_type == "BYTE_ARRAY"
        and chunk.has_dictionary_page
        and _CODED.issuperset(chunk.encodings)
    )


def is_one_batch(file: pq.ParquetFile, groups: Sequence[int]) -> bool:
    """Whether the rows of these row groups, with all columns, come as one batch."""
    if len(groups) != 1:
        return False
    found = file.metadata.row_group(groups[0])
    return found.num_rows <= _BATCH_ROWS and found.total_byte_size <= _SMALL_BYTES


def _suspects(file: pq.ParquetFile, group: int, leaves: Sequence[int]) -> list[int]:
    """The leaves whose texts may be repeated and long."""
    found = file.metadata.row_group(group)
    return [leaf for leaf in leaves if _may_repeat_long_texts(found.column(leaf))]


def _may_repeat_long_texts(chunk: Any) -> bool:
    is_text = chunk.physical_type in {"BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"}
    may_repeat = chunk.has_dictionary_page or _REPEATING in chunk.encodings
    return is_text and may_repeat and chunk.total_uncompressed_size > _SMALL_BYTES


def _are_in_dictionary(values: Any) -> bool:
    """Whether the dictionary has the texts of all values, which Arrow looks at only when it makes texts of them."""
    bounds = pc.min_max(values.indices)
    return not bounds["min"].is_valid or 0 <= bounds["min"].as_py() <= bounds["max"].as_py() < len(values.dictionary)


def _dictionaries(values: Any) -> Iterator[tuple[Any, Any]]:
    """The lengths of the texts in each dictionary inside an array, in bytes, and which of them its values are."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        yield pc.binary_length(values.dictionary), values.indices
    elif pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            yield from _dictionaries(values.field(place))
    elif pa.types.is_map(kind):
        yield from _dictionaries(values.keys)
        yield from _dictionaries(values.items)
    elif kind.num_fields:
        yield from _dictionaries(values.values)


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of the usual size: what is done for each batch would cost too much for each row."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if held and (rows + batch.num_rows > _BATCH_ROWS or size + batch.nbytes > _BATCH_BYTES):
            yield _joined(held)
            held, rows, size = [], 0, 0
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
