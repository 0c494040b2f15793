"""The same values in another Arrow type: without views, dictionaries, run ends and extensions, and cast where that keeps them.

Arrow 26 makes some casts wrong, or none; each place says which.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pyarrow as pa

from promptmill.arrow import pc

_types = cast(Any, pa.types)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the same values without views, dictionaries, run ends and extensions, also inside lists and structs."""
    for is_kind, make in _WRAPPERS:
        if is_kind(kind):
            return make(kind)
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(kind.field(i)) for i in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field), keys_sorted=kind.keys_sorted)
    return kind


def _is_extension(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType)


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(plain_type(field.type))


_WRAPPERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], pa.DataType]], ...] = (
    (_is_extension, lambda kind: plain_type(kind.storage_type)),
    (_types.is_dictionary, lambda kind: plain_type(kind.value_type)),
    (_types.is_run_end_encoded, lambda kind: plain_type(kind.value_type)),
    (_types.is_string_view, lambda kind: pa.string()),
    (_types.is_binary_view, lambda kind: pa.binary()),
    (_types.is_fixed_size_list, lambda kind: pa.list_(_plain_field(kind.value_field), kind.list_size)),
    (
        lambda kind: _types.is_list(kind) or _types.is_list_view(kind),
        lambda kind: pa.list_(_plain_field(kind.value_field)),
    ),
    (
        lambda kind: _types.is_large_list(kind) or _types.is_large_list_view(kind),
        lambda kind: pa.large_list(_plain_field(kind.value_field)),
    ),
)


def cast_column(column: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    """The same values in another type; a column that has the type already isn't touched.

    Raises: one of ARROW_ERRORS where a value can't be held.
    """
    if column.type == target:
        return column
    if plain_type(column.type) != column.type:
        chunks = [_unwrapped(chunk) for chunk in column.chunks]
        column = pa.chunked_array(chunks, chunks[0].type if chunks else plain_type(column.type))
    changed = pa.chunked_array([_cast(chunk, target) for chunk in column.chunks], target)
    changed.validate()
    return changed


def _cast(array: Any, target: Any) -> Any:
    """The array in another type; what has its type isn't touched, also inside lists and structs.

    Arrow 26 casts a list of nulls to its own type with too few nulls (seen with 26.0.1, 2026-11-28;
    tests/promptmill/test_column_types.py).
    """
    kind = array.type
    if kind == target:
        return array
    if _types.is_struct(kind) and _types.is_struct(target) and kind.names == target.names:
        children = [_cast(array.field(place), target.field(place).type) for place in range(kind.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(target), mask=array.is_null())
    if _types.is_list(kind) and _types.is_list(target):
        offsets, values = _inside(array)
        return pa.ListArray.from_arrays(offsets, _cast(values, target.value_type), target, mask=array.is_null())
    return array.cast(target)


def _inside(array: Any) -> tuple[Any, Any]:
    """The offsets of a list or map, from 0 on, and the values that they lead to."""
    offsets = pc.subtract(array.offsets, array.offsets[0])
    return offsets, array.values.slice(array.offsets[0].as_py(), offsets[-1].as_py())


def _unwrapped(array: Any) -> Any:
    """The array without dictionaries, run ends, extensions and list views; Arrow 26 casts the latter to broken lists."""
    kind = array.type
    if _is_extension(kind):
        return _unwrapped(array.storage)
    if _types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(array.indices, _unwrapped(array.dictionary)).dictionary_decode()
    if _types.is_run_end_encoded(kind):
        return _unwrapped(pc.run_end_decode(array))
    if _types.is_string_view(kind) or _types.is_binary_view(kind):
        return array.cast(plain_type(kind))
    if _types.is_struct(kind) and kind.num_fields:
        children = [_unwrapped(array.field(place)) for place in range(kind.num_fields)]
        fields = [kind.field(place).with_type(child.type) for place, child in enumerate(children)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())
    if _types.is_fixed_size_list(kind):
        size = kind.list_size
        values = _unwrapped(array.values.slice(array.offset * size, len(array) * size))
        return pa.FixedSizeListArray.from_arrays(values, size, mask=array.is_null())
    return _unwrapped_list(array) if kind.num_fields == 1 else array


def _unwrapped_list(array: Any) -> Any:
    """A list, view of a list, or map of plain values."""
    kind = array.type
    if _types.is_list_view(kind) or _types.is_large_list_view(kind):
        sizes = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), array.offsets.type)
        places = np.repeat(array.offsets.to_numpy() - offsets.to_numpy()[:-1], sizes) + np.arange(sizes.sum())
        values = pa.concat_arrays([_unwrapped(array.values)]).take(pa.array(places, pa.int64()))
    else:
        offsets, values = _inside(array)
    if _types.is_map(kind):
        keys, items = (_unwrapped(values.field(place)) for place in (0, 1))
        return pa.MapArray.from_arrays(offsets, keys, items, mask=array.is_null())
    is_large = _types.is_large_list(kind) or _types.is_large_list_view(kind)
    made: Any = pa.LargeListArray if is_large else pa.ListArray
    return made.from_arrays(offsets, _unwrapped(values), mask=array.is_null())
