"""Types that Arrow can't carry become plain ones; files of different types become one column where no value changes."""

from typing import Any

import pyarrow as pa
import pytest

from promptmill.column_casts import cast_column
from promptmill.column_types import carried_type, common_type, filter_rows, is_always_held, leaves_of

S, I = pa.string(), pa.int32()  # noqa: E741 - short names keep the tables readable
REQUIRED = pa.field("a", S, nullable=False)
LISTS, VIEWS = pa.list_(S), pa.list_view(S)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param(pa.string_view(), S, id="string-view"),
        pytest.param(pa.binary_view(), pa.binary(), id="binary-view"),
        pytest.param(pa.list_(pa.string_view()), pa.list_(S), id="list-of-views"),
        pytest.param(pa.struct([("k", pa.string_view())]), pa.struct([("k", S)]), id="struct-of-views"),
        pytest.param(pa.map_(S, pa.string_view()), pa.map_(S, S), id="map-of-views"),
        pytest.param(pa.list_view(S), pa.list_view(S), id="list-view"),
        pytest.param(pa.struct([("a", pa.list_(pa.binary_view()))]), pa.struct([("a", pa.list_(pa.binary()))]), id="deep"),
        pytest.param(pa.list_view(pa.uuid()), pa.list_(pa.binary(16)), id="view-of-extensions"),
        pytest.param(pa.run_end_encoded(I, S), S, id="run-end-encoded"),
        pytest.param(pa.dictionary(I, S), pa.dictionary(I, S), id="dictionary"),
        pytest.param(pa.dictionary(I, pa.string_view()), pa.dictionary(I, S), id="dictionary-of-views"),
        pytest.param(pa.uuid(), pa.uuid(), id="known-extension"),
        pytest.param(pa.timestamp("s"), pa.timestamp("ms"), id="seconds"),
        pytest.param(pa.float16(), pa.float16(), id="half-float"),
        pytest.param(pa.struct([REQUIRED]), pa.struct([REQUIRED]), id="required"),
        pytest.param(pa.struct([]), None, id="empty-struct"),
        pytest.param(pa.month_day_nano_interval(), None, id="interval"),
        pytest.param(pa.dense_union([pa.field("a", S)]), None, id="union"),
    ],
)  # fmt: skip
def test_a_type_that_publishing_cannot_carry_becomes_the_plain_type_of_the_same_values(
    kind: pa.DataType, expected: pa.DataType | None
) -> None:
    assert expected == carried_type(kind)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(pa.dictionary(I, S), S, S, id="dictionary-and-text"),
        pytest.param(pa.dictionary(I, S), pa.large_string(), pa.large_string(), id="dictionary-and-large"),
        pytest.param(S, pa.string_view(), S, id="text-and-view"),
        pytest.param(pa.list_(S), pa.list_view(S), pa.list_(S), id="list-and-view"),
        pytest.param(I, pa.int64(), pa.int64(), id="integers"),
        pytest.param(pa.null(), I, I, id="nulls"),
        pytest.param(pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ns"), id="units"),
        pytest.param(pa.uuid(), pa.binary(16), pa.binary(16), id="extension-and-storage"),
        pytest.param(pa.struct([("a", I)]), pa.struct([("b", S)]), pa.struct([("a", I), ("b", S)]), id="structs"),
        pytest.param(pa.decimal128(10, 2), pa.float64(), None, id="decimal-and-float"),
        pytest.param(pa.list_(pa.decimal128(10, 2)), pa.list_(pa.float64()), None, id="decimals-in-lists"),
        pytest.param(I, S, None, id="number-and-text"),
        pytest.param(pa.timestamp("us"), pa.timestamp("us", "UTC"), None, id="with-and-without-zone"),
        pytest.param(pa.bool_(), I, None, id="bool-and-number"),
    ],
)
def test_two_types_have_a_common_one_only_if_it_can_hold_both(
    first: pa.DataType, second: pa.DataType, expected: pa.DataType | None
) -> None:
    assert expected == common_type(first, second)


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        pytest.param(I, pa.int64(), True, id="wider"),
        pytest.param(pa.uint64(), pa.int64(), False, id="unsigned-of-equal-width"),
        pytest.param(pa.uint32(), pa.int64(), True, id="unsigned-of-less-width"),
        pytest.param(pa.int64(), pa.float64(), False, id="beyond-53-bits"),
        pytest.param(I, pa.float64(), True, id="within-53-bits"),
        pytest.param(pa.timestamp("us"), pa.timestamp("ns"), False, id="after-the-year-2262"),
        pytest.param(pa.dictionary(I, S), S, True, id="dictionary"),
        pytest.param(pa.list_(I), pa.list_(pa.int64()), True, id="inside-a-list"),
        pytest.param(pa.list_(pa.int64()), pa.list_(pa.float64()), False, id="too-wide-inside-a-list"),
        pytest.param(pa.struct([("a", I)]), pa.struct([("a", I), ("b", S)]), False, id="more-fields"),
    ],
)
def test_values_need_a_trial_only_where_the_target_may_not_hold_them(
    kind: pa.DataType, target: pa.DataType, expected: bool
) -> None:
    assert expected == is_always_held(kind, target)


@pytest.mark.parametrize(
    ("array", "target"),
    [
        pytest.param(pa.array([["a"], [], None, ["b", "c"]], pa.list_view(S)), pa.list_(S), id="list-view"),
        pytest.param(pa.array([[["a"]], [], None, [["b", "c"], None]], pa.list_(VIEWS)), pa.list_(LISTS), id="inside"),
        pytest.param(pa.RunEndEncodedArray.from_arrays([1, 4], ["x", None]), S, id="run-ends"),
        pytest.param(pa.array([[("k", ["a"])], None, [], [("l", None)]], pa.map_(S, VIEWS)), pa.map_(S, LISTS), id="map"),
        pytest.param(pa.array([{"k": ["a"]}, None, {"k": None}, {"k": []}], pa.struct([("k", pa.list_view(S))])),
                     pa.struct([("k", pa.list_(S))]), id="struct"),
        pytest.param(pa.array([[["a"], []], None, [None, ["b"]], [[], []]], pa.list_(VIEWS, 2)),
                     pa.list_(LISTS, 2), id="fixed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_plainer_type_has_the_same_values_also_of_a_slice(array: Any, target: pa.DataType, start: int) -> None:
    sliced = pa.chunked_array([array.slice(start)])

    changed = cast_column(sliced, target)

    changed.validate(full=True)
    assert changed.to_pylist() == sliced.to_pylist()


NULLS = pa.array([[None, None, None], None, [], [None]], pa.list_(pa.null()))


@pytest.mark.parametrize(
    ("array", "target"),
    [
        pytest.param(NULLS, pa.large_list(pa.null()), id="list"),
        pytest.param(pa.StructArray.from_arrays([NULLS, pa.array(["a", None, "b", "c"], pa.string_view())], ["n", "v"]),
                     pa.struct([("n", pa.list_(pa.null())), ("v", S)]), id="beside-a-view"),
        pytest.param(pa.StructArray.from_arrays([NULLS, pa.array([1, 2, 3, 4], pa.int32())], ["n", "v"]),
                     pa.struct([("n", pa.list_(pa.null())), ("v", pa.int64())]), id="beside-a-number"),
        pytest.param(pa.ListArray.from_arrays(pa.array([0, 1, 3, 4, 4]),
                     pa.StructArray.from_arrays([NULLS, pa.array([1, 2, 3, 4], pa.int32())], ["n", "v"])),
                     pa.list_(pa.struct([("n", pa.list_(pa.null())), ("v", pa.int64())])), id="inside-a-list"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", [0, 1, 2])
def test_lists_of_nulls_keep_their_lengths_in_another_type(array: Any, target: pa.DataType, start: int) -> None:
    sliced = pa.chunked_array([array.slice(start)])

    changed = cast_column(sliced, target)

    changed.validate(full=True)
    assert (changed.type, changed.to_pylist()) == (target, sliced.to_pylist())


def test_fixed_size_lists_of_fixed_size_lists_keep_their_rows_when_a_slice_is_filtered() -> None:
    inner = pa.FixedSizeListArray.from_arrays(pa.array(range(40)), 2)
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(inner, 2)}).slice(3)
    mask = pa.array([place % 2 == 0 for place in range(table.num_rows)])

    assert filter_rows(table, mask)["x"].to_pylist() == table["x"].to_pylist()[::2]


def test_leaves_are_the_columns_of_the_file() -> None:
    kind = pa.struct([("a", pa.list_(I)), ("m", pa.map_(S, pa.struct([("x", I), ("y", I)]))), ("u", pa.uuid())])

    assert [1, 1, 5] == [leaves_of(I), leaves_of(pa.dictionary(I, S)), leaves_of(kind)]
