"""Columns that folders stand for: in/day=2024-01-31/a.parquet has a column `day` (Hive's way).

They are text unless `input.types` says otherwise. A file's own column of the same name comes before them.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import pyarrow as pa

from promptmill.dataset.files import Files, InputFile
from promptmill.dataset.text_types import TYPES, cast_texts
from promptmill.errors import DatasetError
from promptmill.job.input_spec import TypeName
from promptmill.shorten import shorten


class FileSource(Protocol):
    """Something that has the rows of files, and gives them in blocks of any size, in order."""

    schema: pa.Schema
    notes: tuple[str, ...]

    def of_files(self, columns: list[str], start: int) -> Iterator[tuple[InputFile, pa.Table]]:
        """The rows from number `start` on, with only these columns, each block with its file."""
        ...


class PartitionedSource:
    """The rows of files, with the columns that their folders stand for."""

    def __init__(self, source: FileSource, files: Files, types: Mapping[str, TypeName]) -> None:
        self._source = source
        own = source.schema.names
        names = dict.fromkeys(name for file in files.files for name, _ in file.partitions if name not in own)
        self._kinds = {name: TYPES[types.get(name, "string")] for name in names}
        self._values = {
            file.path: {
                name: _value(file, name, text, kind)
                for name, kind in self._kinds.items()
                if (text := dict(file.partitions).get(name)) is not None
            }
            for file in files.files
        }
        asked = types if files.format == "parquet" else {}  # the readers of text do it themselves
        self._asked = {name: TYPES[kind] for name, kind in asked.items() if name in own}
        fields = [field.with_type(self._asked.get(field.name, field.type)) for field in source.schema]
        self.schema = pa.schema([*fields, *(pa.field(name, kind) for name, kind in self._kinds.items())])
        told = f"columns by folders: {', '.join(names)}" if names else ""
        self.notes = (*source.notes, *files.notes, *([told] if told else []))

    def blocks(self, columns: list[str], start: int) -> Iterator[pa.Table]:
        """The rows from number `start` on, with only these columns."""
        own = [name for name in columns if name not in self._kinds]
        for file, table in self._source.of_files(own or self._source.schema.names[:1], start):
            if len(own) == len(columns) and not self._asked:
                yield table
            else:
                arrays = [self._column(file, table, name) for name in columns]
                yield pa.table(arrays, schema=pa.schema([self.schema.field(name) for name in columns]))

    def _column(self, file: InputFile, table: pa.Table, name: str) -> pa.ChunkedArray:
        if name in self._kinds:
            value = self._values[file.path].get(name, pa.scalar(None, self._kinds[name]))
            return pa.chunked_array([pa.repeat(value, table.num_rows)])
        if name not in self._asked:
            return table[name]
        try:
            return table[name].cast(self._asked[name])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DatasetError(
                f"{file.shown} has a value in column {name!r} that is no {self._asked[name]}: {error} (input.types). Fix the "
                "value, or ask for another type."
            ) from error


def _value(file: InputFile, name: str, text: str, kind: pa.DataType) -> pa.Scalar:
    found = cast_texts(pa.array([text], pa.string()), kind)
    if found is None:
        raise DatasetError(
            f"{file.shown} lies in a folder with {name}={shorten(text, 80)!r}, which is no {kind} (input.types). Rename the "
            "folder, or ask for another type."
        )
    return found[0]
