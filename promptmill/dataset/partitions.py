"""Columns that folders stand for: in/day=2024-01-31/a.parquet has a column `day` (Hive's way).

They are text unless `input.types` says otherwise. A file's own column of the same name comes before them.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

import pyarrow as pa

from promptmill.cell_values import value_at
from promptmill.dataset.files import Files, InputFile
from promptmill.dataset.text_types import TYPES, cast_texts
from promptmill.dataset.unreadable import UNREADABLE, UNREADABLE_TYPE, BadRow, cast_fitting, marks, misfit_reason
from promptmill.errors import DatasetError
from promptmill.job.input_spec import TypeName
from promptmill.shorten import shorten


class FileSource(Protocol):
    """Something that has the rows of files, and gives them in blocks of any size, in order."""

    schema: pa.Schema
    notes: tuple[str, ...]
    has_marks: bool  # its blocks can have the column UNREADABLE
    rows: int

    def of_files(
        self, columns: list[str], start: int, tries: Collection[str] = ()
    ) -> Iterator[tuple[InputFile, pa.Table]]:
        """The rows from number `start` on, with only these columns, each block with its file.

        It also decodes the columns `tries` of these rows. Raises: DatasetError when they are damaged.
        """
        ...


class PartitionedSource:
    """The rows of files, with the columns that their folders stand for."""

    def __init__(self, source: FileSource, files: Files, types: Mapping[str, TypeName]) -> None:
        self._source = source
        own = source.schema.names
        of_folders = [name for file in files.files for name, _ in file.partitions]
        names = dict.fromkeys(name for name in (*of_folders, *files.table_columns) if name not in own)
        self._kinds = {
            name: TYPES[types[name]] if name in types else files.table_columns.get(name, pa.string()) for name in names
        }
        self._values = {
            file: {
                name: _value(file, name, text, kind)
                for name, kind in self._kinds.items()
                if (text := dict(file.partitions).get(name)) is not None
            }
            for file in files.files
        }
        asked = types if files.format == "parquet" else {}  # the readers of text do it themselves
        self._asked = {name: TYPES[kind] for name, kind in asked.items() if name in own}
        self.has_marks = source.has_marks or bool(self._asked)
        self.rows = source.rows
        fields = [field.with_type(self._asked.get(field.name, field.type)) for field in source.schema]
        self.schema = pa.schema([*fields, *(pa.field(name, kind) for name, kind in self._kinds.items())])
        told = f"columns by folders: {', '.join(names)}" if of_folders and names else ""
        tables = [f"{url} is read at version {version}" for url, version in files.versions.items()]
        self.notes = (*source.notes, *files.notes, *tables, *([told] if told else []))

    def blocks(self, columns: list[str], start: int, tries: Collection[str] = ()) -> Iterator[pa.Table]:
        """The rows from number `start` on, with only these columns; UNREADABLE may be one, if there is such a column.

        It also decodes the columns `tries` of these rows. Raises: DatasetError when they are damaged.
        """
        own = [name for name in columns if name not in self._kinds]
        if UNREADABLE in own and self._asked:
            own = [*dict.fromkeys([name for name in own if name != UNREADABLE] + [*self._asked])]
        rest = [name for name in tries if name in self._source.schema.names and name not in own]
        for file, table in self._source.of_files(own or self._source.schema.names[:1], start, rest):
            if own == columns and not self._asked:
                yield table
            else:
                yield self._changed(file, table, columns)

    def _changed(self, file: InputFile, table: pa.Table, columns: list[str]) -> pa.Table:
        """The table with the columns of the folders, and those with a type that the job asks for."""
        bad: dict[int, BadRow] = {}
        asked = {name: self._cast(file, table, name, bad) for name in table.column_names if name in self._asked}
        found: list[pa.ChunkedArray | pa.Array] = []
        for name in columns:
            if name in self._kinds:
                value = self._values[file].get(name, pa.scalar(None, self._kinds[name]))
                found.append(pa.repeat(value, table.num_rows))
            elif name == UNREADABLE and name not in table.column_names:
                found.append(marks(table.num_rows, bad))
            else:
                found.append(asked[name] if name in asked else table[name])
        fields = [
            self.schema.field(name) if name != UNREADABLE else pa.field(name, UNREADABLE_TYPE) for name in columns
        ]
        return pa.table(found, schema=pa.schema(fields))

    def _cast(self, file: InputFile, table: pa.Table, name: str, bad: dict[int, BadRow]) -> pa.Array:
        """A column of a Parquet file with the type that the job asks for; notes the rows with a value that doesn't fit."""
        values, kind = pa.concat_arrays(table[name].chunks), self._asked[name]
        try:
            found, misfits = cast_fitting(values, kind)
        except pa.ArrowNotImplementedError as error:
            raise DatasetError(
                f"{file.shown} has the column {name!r} of {values.type}, which can't be {kind}: {error} (input.types). Ask "
                "for another type."
            ) from error
        for place in misfits:
            text = str(value_at(values, place))
            bad.setdefault(place, BadRow(misfit_reason(file.shown, "", name, text, kind), text))
        return found


def _value(file: InputFile, name: str, text: str, kind: pa.DataType) -> pa.Scalar:
    found = cast_texts(pa.array([text], pa.string()), kind)
    if found is None:
        raise DatasetError(
            f"{file.shown} lies in a folder with {name}={shorten(text, 80)!r}, which is no {kind} (input.types). Rename the "
            "folder, or ask for another type."
        )
    return found[0]
