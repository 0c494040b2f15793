"""Which Arrow types a column can have from the input to the output's parts, and how files of different types become one column.

Arrow 26 reads types from Parquet that it can't filter (`string_view`), and holds types that it can't write
(run-end-encoded). So each type is tried on what publishing does, before a run pays for anything. A type that fails is
replaced by the plain type that holds the same values. If there is none, the caller refuses the column.
"""

import io
from functools import lru_cache
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.arrow import pc
from promptmill.column_casts import cast_column, plain_type

ARROW_ERRORS = (pa.ArrowException, OSError, OverflowError, TypeError, ValueError)  # of a type that can't be done
_types = cast(Any, pa.types)
_FLOATS = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}  # type → bits of a whole number that it holds


@lru_cache(maxsize=4096)
def carried_type(kind: pa.DataType) -> pa.DataType | None:
    """The type in which a column of this type reaches the output: its own, or a plain one that holds the same values.

    None where Parquet holds no such values: an empty struct, a union, an interval.
    """
    for candidate in (kind, plain_type(kind)):
        returned = _published(candidate)
        if returned is not None and (returned == kind or _can_cast(kind, returned)):
            return returned
    return None


def _published(kind: pa.DataType) -> pa.DataType | None:
    """The type that a reader of the output finds; None where publishing can't filter, take, write or read the type."""
    try:
        nulls = _nulls(kind)
        pc.filter(nulls, pa.array([True] * len(nulls)))
        pa.concat_arrays([nulls.take(pa.array(range(len(nulls)), pa.int64())), nulls])
        sink = io.BytesIO()
        pq.write_table(pa.schema([("column", kind)]).empty_table(), sink)
        return pq.read_table(sink).schema.field(0).type
    except ARROW_ERRORS:
        return None


def _nulls(kind: pa.DataType) -> pa.Array:
    """Two nulls of a type; none where Arrow makes them wrong, as it does of structs with nulls in a fixed-size list."""
    nulls = pa.nulls(2, kind)
    try:
        nulls.validate()
    except pa.ArrowInvalid:
        return pa.nulls(0, kind)
    return nulls


def _can_cast(kind: pa.DataType, target: pa.DataType) -> bool:
    try:
        return cast_column(pa.chunked_array([_nulls(kind)]), target).type == target
    except ARROW_ERRORS:
        return False


def filter_rows(table: pa.Table, mask: Any) -> pa.Table:
    """The rows where the mask is true.

    Arrow 26 takes the wrong values from a slice of fixed-size lists inside fixed-size lists, so we copy such a slice first
    (seen with 26.0.1, 2026-11-27; tests/promptmill/test_column_types.py).
    """
    columns = [_unsliced(column).filter(mask) for column in table.columns]
    return pa.table(columns, schema=table.schema)


def _unsliced(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not _has_fixed_in_fixed(column.type):
        return column
    return pa.chunked_array([pa.concat_arrays([chunk]) for chunk in column.chunks], column.type)


def _has_fixed_in_fixed(kind: pa.DataType) -> bool:
    inside = _children(plain_type(kind))
    is_fixed = _types.is_fixed_size_list(kind)
    return any((is_fixed and _types.is_fixed_size_list(inner)) or _has_fixed_in_fixed(inner) for inner in inside)


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both, a plain one where they are stored differently; None where there is none.

    A value may still not fit (`is_always_held` tells where): the caller tries the values.
    """
    if first == second:
        return first
    for left, right in ((first, second), (plain_type(first), plain_type(second))):
        try:
            fields = [pa.schema([("x", left)]), pa.schema([("x", right)])]
            joined = pa.unify_schemas(fields, promote_options="permissive").field("x").type
        except ARROW_ERRORS:
            continue
        if not (_can_cast(left, joined) and _can_cast(right, joined)):
            continue
        return None if _drops_digits(left, joined) or _drops_digits(right, joined) else joined
    return None


def _drops_digits(kind: pa.DataType, target: pa.DataType) -> bool:
    """Whether a cast may round decimals to floats, which it does in silence."""
    inner = list(zip(_children(kind), _children(target), strict=False))
    return (pa.types.is_decimal(kind) and pa.types.is_floating(target)) or any(_drops_digits(a, b) for a, b in inner)


def may_be_unreadable(kind: pa.DataType) -> bool:
    """Whether it depends on the values if Arrow 26 can read a column of this type from Parquet.

    It reads no dictionary with a text that isn't UTF-8, and builds broken lists and structs around a column of nulls.
    """
    if _types.is_dictionary(kind):
        return plain_type(kind) in (pa.string(), pa.large_string())
    return any(pa.types.is_null(inner) or may_be_unreadable(inner) for inner in _children(kind))


def is_always_held(kind: pa.DataType, target: pa.DataType) -> bool:
    """Whether a cast to the target holds every value of the type, so that nobody needs to try the values."""
    if kind == target or pa.types.is_null(kind) or plain_type(kind) == target:
        return True
    if pa.types.is_integer(kind) and pa.types.is_integer(target):
        is_signed = (pa.types.is_signed_integer(kind), pa.types.is_signed_integer(target))
        return kind.bit_width < target.bit_width and is_signed != (True, False)
    if pa.types.is_floating(kind) and pa.types.is_floating(target):
        return kind.bit_width < target.bit_width
    if pa.types.is_integer(kind) and target in _FLOATS:
        return kind.bit_width <= _FLOATS[target]
    if target in (pa.binary(), pa.large_string(), pa.large_binary()):
        return kind in (pa.string(), pa.string_view(), pa.binary(), pa.binary_view())
    inside = list(zip(_children(kind), _children(target), strict=False))
    is_same_shape = kind.id == target.id and len(_children(kind)) == len(_children(target))
    return bool(inside) and is_same_shape and all(is_always_held(a, b) for a, b in inside)


def _children(kind: pa.DataType) -> list[pa.DataType]:
    return [kind.field(i).type for i in range(kind.num_fields)]


def leaves_of(kind: pa.DataType) -> int:
    """How many columns of a Parquet file hold a column of this type: one for each value inside lists and structs."""
    kind = plain_type(kind)
    return sum(map(leaves_of, _children(kind))) if kind.num_fields else 1
