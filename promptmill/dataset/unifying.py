"""Files of different schemas as one dataset: a column has one type in all of them, and no value changes on the way.

Where a type holds most values of another and not all (nanoseconds end in the year 2262, a double ends at 2**53 whole
numbers), we read these columns once before anything is paid for, and refuse the input if a value doesn't fit.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from promptmill.column_types import carried_type, common_type, is_always_held, leaves_of, may_be_unreadable
from promptmill.dataset.files import InputFile
from promptmill.errors import DatasetError

_REMEDY = (
    "A column has one type in all files of a dataset (input.url). Fix the file, or give a glob of the files that fit."
)


@dataclass(slots=True)
class Unified:
    """The schema of all files so far, and what each column's first file says of it."""

    schema: pa.Schema
    first: dict[str, tuple[InputFile, pa.DataType]]
    written: dict[InputFile, pa.Schema] = field(default_factory=dict[InputFile, pa.Schema])  # equal ones are one object

    def to_try(self) -> dict[InputFile, list[str]]:
        """Files → their columns with values of which nobody knows yet whether the common type holds them."""
        files = {file: self._risky(schema) for file, schema in self.written.items()}
        return {file: names for file, names in files.items() if names}

    def _risky(self, schema: pa.Schema) -> list[str]:
        return [
            column.name
            for column in schema
            if may_be_unreadable(column.type) or not is_always_held(column.type, self.schema.field(column.name).type)
        ]


def unify_files(schemas: Iterable[tuple[InputFile, pa.Schema]]) -> Unified:
    """One schema for files of these schemas; each column has a type that can reach the output, if there is one.

    Raises: DatasetError that names file and column.
    """
    found: Unified | None = None
    last: pa.Schema | None = None
    for file, written in schemas:
        refuse_repeated_columns(file, written)
        if found is None:
            schema = pa.schema([column.with_type(_carried(column.type)) for column in written])
            found = Unified(schema, {column.name: (file, column.type) for column in written}, {file: written})
            last = written
        elif last is not None and written.equals(last):
            found.written[file] = last
        else:
            found.written[file] = last = written
            found.schema = _joined(found, file, written)
    if found is None:
        raise ValueError("there are no files")
    return found


def _joined(found: Unified, file: InputFile, written: pa.Schema) -> pa.Schema:
    columns = {column.name: column for column in found.schema}
    for column in written:
        known = columns.get(column.name)
        found.first.setdefault(column.name, (file, column.type))
        if known is None:
            columns[column.name] = column.with_type(_carried(column.type)).with_nullable(True)
            continue
        common = common_type(known.type, _carried(column.type))
        if common is None:
            first, kind = found.first[column.name]
            raise DatasetError(
                f"{file.shown} doesn't fit {first.shown}: its column {column.name!r} is {column.type}, and there it is "
                f"{kind}. {_REMEDY}"
            )
        columns[column.name] = known.with_type(common).with_nullable(known.nullable or column.nullable)
    return pa.schema(
        [column if name in written.names else column.with_nullable(True) for name, column in columns.items()]
    )


def _carried(kind: pa.DataType) -> pa.DataType:
    found = carried_type(kind)
    return kind if found is None else found


def refuse_repeated_columns(file: InputFile, schema: pa.Schema) -> None:
    """Raises: DatasetError when two columns have one name."""
    repeated = [name for name, times in Counter(schema.names).items() if times > 1]
    if repeated:
        raise DatasetError(
            f"{file.shown} has more than one column {', '.join(map(repr, repeated))}; a name stands for one column "
            "(input.url). Rename them."
        )


def refuse_unfitting(found: Unified, file: InputFile, name: str, error: Exception) -> DatasetError:
    """The error of a column with a value that its type in the other files can't hold."""
    kind, common = found.written[file].field(name).type, found.schema.field(name).type
    if kind == common:
        return DatasetError(
            f"{file.shown} has a value in the column {name!r} ({kind}) that can't be read: {error}. A run reads every value "
            "(input.url). Write the column as plain text, or fix the value."
        )
    return DatasetError(
        f"{file.shown} has a value in the column {name!r} ({kind}) that doesn't fit {common}, which "
        f"the column needs for {found.first[name][0].shown} and the other files: {error}. {_REMEDY}"
    )


def parquet_indices(schema: pa.Schema, wanted: Collection[str]) -> list[int]:
    """The numbers of the file's columns that hold the wanted ones; a name alone is ambiguous when it has dots."""
    indices: list[int] = []
    start = 0
    for column in schema:
        end = start + leaves_of(column.type)
        indices += range(start, end) if column.name in wanted else ()
        start = end
    return indices
