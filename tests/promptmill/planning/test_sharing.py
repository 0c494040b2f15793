"""Which rows take whose answer, against the plainest way to find out."""

import numpy as np
import pytest
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


@given(requests=REQUESTS, chunk_rows=st.integers(1, 20))
def test_the_first_row_with_a_request_gives_its_answer_to_all_later_ones(
    requests: list[int | None], chunk_rows: int
) -> None:
    rows = [row(number, request) for number, request in enumerate(requests)]
    digests = RequestDigests()
    for start in range(0, len(rows), chunk_rows):
        digests.add(rows[start : start + chunk_rows])

    found = digests.sharing()

    sent = [(number, request) for number, request in enumerate(requests) if request is not None]
    takers = [number for number, request in sent if requests.index(request) < number]
    assert found.takers.tolist() == takers
    assert found.givers.tolist() == sorted({requests.index(requests[number]) for number in takers})
    assert found.tokens.tolist() == [_tokens(requests[number]) for number in takers]


@given(marks=st.lists(st.booleans(), max_size=100))
def test_places_come_back_from_their_text(marks: list[bool]) -> None:
    text = places_text(np.flatnonzero(marks), len(marks))

    assert marks_of(text, len(marks)).tolist() == marks
    assert bool(text) == any(marks)


@pytest.mark.parametrize("rows", [1_000_000])
def test_a_million_requests_take_at_most_a_hundred_megabytes(rows: int) -> None:
    digests = RequestDigests()
    one = [row(number, number) for number in range(1_000)]

    for _ in range(rows // len(one)):
        digests.add(one)

    assert digests.nbytes == 20 * rows < 100e6
    assert len(digests.sharing().takers) == rows - len(one)
