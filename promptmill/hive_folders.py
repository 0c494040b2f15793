"""Hive's folders: day=2024-01-31 in a path says that each row below it has this value in the column `day`. Pure.

Names and values are percent-encoded in UTF-8, and a null is `__HIVE_DEFAULT_PARTITION__`, as Spark, Hive, DuckDB and
Arrow have it.
"""

from pathlib import PurePosixPath
from urllib.parse import quote, unquote

import pyarrow as pa

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
FOLDER_TYPES: dict[str, pa.DataType] = {  # whose values come back from a text
    str(kind): kind for kind in (pa.string(), pa.large_string(), pa.bool_(), pa.date32(), *_INTEGERS)
}
_NULL = "__HIVE_DEFAULT_PARTITION__"
_HIDDEN = {"_": "%5F", ".": "%2E"}  # readers leave out folders that begin with these


def folder_of(name: str, value: str | None) -> str:
    """The folder for a value of a column."""
    first, rest = name[:1], quote(name[1:], safe="")
    start = _HIDDEN[first] if first in _HIDDEN else quote(first, safe="")
    if value is None:
        return f"{start}{rest}={_NULL}"
    encoded = quote(value, safe="")
    return f"{start}{rest}={'%5F' + encoded[1:] if encoded == _NULL else encoded}"


def values_in(path: str) -> tuple[tuple[str, str | None], ...]:
    """The columns and their values that the folders of a relative path stand for."""
    folders = PurePosixPath(path.strip("/")).parts[:-1]
    pairs = [folder.partition("=") for folder in folders if "=" in folder and not folder.startswith("=")]
    return tuple((unquote(name), None if value == _NULL else unquote(value)) for name, _, value in pairs)


def folder_type(kind: pa.DataType) -> pa.DataType | None:
    """The type that values of this one have when they come back from folders; None if they can't."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return FOLDER_TYPES.get(str(plain))


def folder_type_name(name: str) -> str:
    """The name itself, if it is that of a type that folders can hold. Raises: ValueError."""
    if name not in FOLDER_TYPES:
        raise ValueError(f"not one of {', '.join(FOLDER_TYPES)}")
    return name
