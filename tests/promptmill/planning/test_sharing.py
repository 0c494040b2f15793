"""Which rows take whose answer, against the plainest way to find out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from promptmill.planning.rendering import Unrendered
from promptmill.planning.sharing import RequestDigests, marks_of, places_text
from promptmill.records import Request


def row(number: int, request: int | None) -> Request | Unrendered:
    """A row with one of a few requests; None can't be rendered."""
    if request is None:
        return Unrendered(f"{0:032x}-{number:08x}", "no text")
    return Request(f"{(request << 64) + 2**127:032x}-{number:08x}", b"", _tokens(request), None, 0)


def _tokens(request: int | None) -> int:
    return 10 + (request or 0) % 11


REQUESTS = st.lists(st.one_of(st.none(), st.integers(0, 6), st.just(2**62)), max_size=60)


@given(requests=REQUESTS, chunk_rows=st.integers(1, 20), held_rows=st.sampled_from([1, 7, 1_000]))
def test_the_first_row_with_a_request_gives_its_answer_to_all_later_ones(
    requests: list[int | None], chunk_rows: int, held_rows: int
) -> None:
    rows = [row(number, request) for number, request in enumerate(requests)]
    digests = RequestDigests(held_rows=held_rows)
    starts = list(range(0, len(rows), chunk_rows))
    for start in starts:
        digests.add(rows[start : start + chunk_rows])

    found = digests.sharing(starts)

    sent = [(number, request) for number, request in enumerate(requests) if request is not None]
    takers = [number for number, request in sent if requests.index(request) < number]
    givers = sorted({requests.index(requests[number]) for number in takers})
    assert [start + place for start in starts for place in found.taking(start, chunk_rows)] == takers
    assert [start + place for start in starts for place in found.giving(start, chunk_rows)] == givers
    assert found.rows == len(takers)
    assert found.spared.tolist() == [
        sum(_tokens(requests[number]) for number in takers if start <= number < start + chunk_rows) for start in starts
    ]


@given(marks=st.lists(st.booleans(), max_size=100))
def test_places_come_back_from_their_text(marks: list[bool]) -> None:
    text = places_text(np.flatnonzero(marks), len(marks))

    assert marks_of(text, len(marks)).tolist() == marks
    assert bool(text) == any(marks)


def test_memory_does_not_grow_with_the_rows() -> None:
    digests = RequestDigests(held_rows=100_000)
    one = [row(number, number) for number in range(1_000)]

    most = 0
    for _ in range(1_000):
        digests.add(one)
        most = max(most, digests.nbytes)

    assert most <= 100_000 * 28 + 100_000
    assert digests.sharing([0]).rows == 1_000_000 - len(one)
