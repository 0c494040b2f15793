"""Tables are read ahead in their order, and the bytes that are ahead of the caller are bounded."""

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from promptmill.runs.ahead import load_ahead, read_ahead

MEGABYTE = 2**20


def table(number: int, size: int = 8) -> pa.Table:
    return pa.table({"number": pa.array([number] * (size // 8), pa.int64())})


@pytest.mark.parametrize("is_local", [True, False])
def test_tables_come_in_the_order_of_their_items(is_local: bool) -> None:
    chance = threading.Event()

    def load(number: int) -> pa.Table:
        chance.wait(0.002 * (number % 3))
        return table(number)

    found = [one["number"][0].as_py() for one in load_ahead(load, range(40), is_local=is_local)]

    assert found == list(range(40))
    assert [one.num_rows for one in read_ahead(iter([table(1), table(2)]))] == [1, 1]
    assert list(load_ahead(load, [])) == []


@pytest.mark.parametrize(
    ("size", "most"),
    [
        pytest.param(8, 8, id="small"),
        pytest.param(6 * MEGABYTE, 2, id="large"),
        pytest.param(40 * MEGABYTE, 0, id="larger-than-the-bound"),
    ],
)
def test_what_is_read_ahead_is_bounded(size: int, most: int) -> None:
    lock, begun, taken, ahead = threading.Lock(), 0, 0, 0

    def load(number: int) -> pa.Table:
        nonlocal begun, ahead
        with lock:
            begun += 1
            ahead = max(ahead, begun - taken - 1)  # the caller waits for one
        return table(number, size)

    for _ in load_ahead(load, range(20), is_local=False):
        with lock:
            taken += 1

    assert ahead <= most


def test_an_error_comes_after_the_tables_before_it_and_reading_ends() -> None:
    read: list[int] = []

    def damaged() -> Iterator[pa.Table]:
        for number in range(9):
            if number == 3:
                raise ValueError("damaged")
            read.append(number)
            yield table(number)

    found: list[int] = []
    with pytest.raises(ValueError, match="damaged"):
        for one in read_ahead(damaged()):
            found.append(one["number"][0].as_py())

    assert found == [0, 1, 2] == read
