"""Random Arrow columns of every type that Parquet holds, with values that Arrow holds and Python doesn't."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from promptmill.arrow import pc

Random = np.random.Generator
UNITS = ("ms", "us", "ns")
ZONES = (None, "UTC", "Europe/Berlin", "+05:30", "Mars/Olympus", "+25:00")
TEXTS = (b"", b"x", b"R\xc9UNION", b"\xed\xa0\x80", "ä\N{CYCLONE}".encode(), b"a\0b", b"long " * 50, b"\xff\xfe")
DAYS = (
    0,
    1,
    -719162,
    -719163,
    2932896,
    2932897,
    2**31 - 1,
    -(2**31),
)  # the ends of Python's years 1 to 9999 and beyond
MOMENTS = (0, 1, -1, 253402300799_999_999, 253402300800_000_000, 2**63 - 1, -(2**63) + 1)

_NUMBERS = [getattr(pa, name)() for name in "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split()]
_BYTES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.binary(3),
]
_DECIMALS = [pa.decimal128(5, 2), pa.decimal128(38, 10), pa.decimal256(60, 5), pa.decimal128(4, 0)]
_TIMES = [
    pa.date32(),
    pa.time32("ms"),
    *(pa.time64(unit) for unit in UNITS[1:]),
    *(pa.duration(unit) for unit in ("s", *UNITS)),
    *(pa.timestamp(unit, zone) for unit in UNITS for zone in ZONES),
]
_EXTENSIONS: list[pa.DataType] = [pa.uuid(), pa.json_(), pa.bool8()]
_PLAIN = [pa.null(), pa.bool_(), pa.float16(), *_NUMBERS, *_BYTES, *_DECIMALS, *_TIMES]
_KEYS = {pa.string(): "k", pa.int32(): 1, pa.binary(): b"k"}  # of maps: a type and what stands for a null
_DICTIONARIES = [
    pa.dictionary(index, kind)
    for index in (pa.int32(), pa.int64())
    for kind in (pa.string(), pa.binary(), pa.int64(), pa.date32())
]


def kinds() -> st.SearchStrategy[pa.DataType]:
    """Types that Parquet holds, with lists, structs and maps of each other."""
    leaves = st.sampled_from([*_PLAIN, *_EXTENSIONS, *_DICTIONARIES])
    return st.recursive(leaves, _nested, max_leaves=3)


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    keys = st.sampled_from(list(_KEYS))
    names = st.sampled_from(["", "a", "b.c", "ä"])
    return st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(pa.list_view),
        inner.map(lambda kind: pa.list_(kind, 2)),
        st.lists(st.tuples(names, inner), min_size=1, max_size=2).map(pa.struct),
        st.tuples(keys, inner).map(lambda pair: pa.map_(*pair)),
    )


def column(random: Random, kind: pa.DataType, rows: int) -> pa.Array:
    """Random values of a type, some of them null."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, column(random, kind.storage_type, rows))
    for is_kind, make in _MAKERS:
        if is_kind(kind):
            return make(random, kind, rows)
    size = kind.bit_width // 8
    return pa.Array.from_buffers(kind, rows, [_present(random, rows), pa.py_buffer(random.bytes(size * rows))])


def _present(random: Random, rows: int) -> pa.Buffer:
    """Which values aren't null, as Arrow's bits."""
    return pa.array(random.random(rows) < 0.8).buffers()[1]


def _mask(random: Random, rows: int) -> pa.Array:
    return pa.array(random.random(rows) < 0.2)


def _texts(random: Random, kind: Any, rows: int) -> pa.Array:
    width = kind.byte_width if pa.types.is_fixed_size_binary(kind) else None
    texts = [TEXTS[place].ljust(width or 0, b"\0")[:width] for place in random.integers(len(TEXTS), size=rows)]
    values = pa.array(texts, pa.binary(), mask=random.random(rows) < 0.2)
    if width is not None:
        return values.cast(kind)
    if pa.types.is_string_view(kind):
        return values.view(pa.string()).cast(kind)
    large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    return (
        values.cast(pa.large_binary()).view(kind)
        if large
        else values.cast(kind)
        if _is_view(kind)
        else values.view(kind)
    )


def _is_view(kind: Any) -> bool:
    return cast(Any, pa.types).is_binary_view(kind)


def _floats(random: Random, kind: pa.DataType, rows: int) -> pa.Array:
    values = random.choice([0.0, -0.0, 1.5, np.inf, -np.inf, 65504.0, 1e-7], rows)
    return pa.array(values, pa.float64(), mask=random.random(rows) < 0.2).cast(kind, safe=False)


def _decimals(random: Random, kind: Any, rows: int) -> pa.Array:
    digits = [int("9" * int(random.integers(1, kind.precision + 1))) for _ in range(rows)]
    return pa.array([Decimal(f"{number}e-{kind.scale}") for number in digits], kind)


def _chosen(random: Random, kind: pa.DataType, rows: int) -> pa.Array:
    numbers = DAYS if kind == pa.date32() else MOMENTS
    width = pa.int32() if kind == pa.date32() else pa.int64()
    values = [numbers[place] for place in random.integers(len(numbers), size=rows)]
    return pa.array(values, width, mask=random.random(rows) < 0.2).view(kind)


def _clocks(random: Random, kind: pa.DataType, rows: int) -> pa.Array:
    numbers = random.integers(0, 86_399_999, rows)
    width = pa.int32() if pa.types.is_time32(kind) else pa.int64()
    return pa.array(numbers, width).view(kind)


def _lists(random: Random, kind: Any, rows: int) -> pa.Array:
    ends = np.concatenate([[0], np.cumsum(random.integers(0, 3, rows))])
    values = column(random, kind.value_type, int(ends[-1]))
    if cast(Any, pa.types).is_list_view(kind):
        return pa.ListViewArray.from_arrays(
            pa.array(ends[:-1], pa.int32()), pa.array(np.diff(ends), pa.int32()), values
        )
    large = pa.types.is_large_list(kind)
    made: Any = pa.LargeListArray if large else pa.ListArray
    offsets = pa.array(ends, pa.int64() if large else pa.int32())
    return made.from_arrays(offsets, values, type=kind, mask=_mask(random, rows))


def _maps(random: Random, kind: Any, rows: int) -> pa.Array:
    ends = np.concatenate([[0], np.cumsum(random.integers(0, 3, rows))])
    keys = pc.fill_null(column(random, kind.key_type, int(ends[-1])), _KEYS[kind.key_type])
    return pa.MapArray.from_arrays(pa.array(ends, pa.int32()), keys, column(random, kind.item_type, int(ends[-1])))


def _structs(random: Random, kind: Any, rows: int) -> pa.Array:
    fields = [kind.field(place) for place in range(kind.num_fields)]
    arrays = [column(random, field.type, rows) for field in fields]
    return pa.StructArray.from_arrays(arrays, fields=fields, mask=_mask(random, rows))


def _dictionaries(random: Random, kind: Any, rows: int) -> pa.Array:
    values = pc.drop_null(pc.unique(column(random, kind.value_type, 20)))
    places = pa.array(random.integers(0, len(values), rows), kind.index_type, mask=random.random(rows) < 0.2)
    return pa.DictionaryArray.from_arrays(places, values)


_types = cast(Any, pa.types)
_MAKERS: tuple[tuple[Callable[[Any], bool], Callable[[Random, Any, int], pa.Array]], ...] = (
    (_types.is_null, lambda random, kind, rows: pa.nulls(rows)),
    (_types.is_boolean, lambda random, kind, rows: pa.array(random.random(rows) < 0.5, mask=random.random(rows) < 0.2)),
    (lambda kind: kind in _BYTES, _texts),
    (_types.is_floating, _floats),
    (_types.is_decimal, _decimals),
    (lambda kind: _types.is_date32(kind) or _types.is_timestamp(kind) or _types.is_duration(kind), _chosen),
    (_types.is_time, _clocks),
    (
        _types.is_fixed_size_list,
        lambda random, kind, rows: pa.FixedSizeListArray.from_arrays(
            column(random, kind.value_type, 2 * rows), type=kind
        ),
    ),
    (lambda kind: _types.is_list(kind) or _types.is_large_list(kind) or _types.is_list_view(kind), _lists),
    (_types.is_map, _maps),
    (_types.is_struct, _structs),
    (_types.is_dictionary, _dictionaries),
)
