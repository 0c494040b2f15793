"""Rows that send the same request: the first of them asks, and the others take its answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptmill.checkpoints.answer_files import REQUEST_DIGEST_CHARACTERS
from promptmill.planning.rendering import Unrendered
from promptmill.records import Request


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which rows take the answer of which, as row numbers in ascending order."""

    takers: NDArray[np.int64]  # rows that take the answer of an earlier row
    givers: NDArray[np.int64]  # rows whose answer others take
    tokens: NDArray[np.int64]  # input tokens of each taker's request, which isn't sent


@dataclass(frozen=True, slots=True)
class Distinct:
    """The different requests of a dataset in the order of their digests: 24 bytes each."""

    high: NDArray[np.uint64]  # the first 64 bits of the digest
    low: NDArray[np.uint64]  # the last
    rows: NDArray[np.uint32]  # digest of the first row that sends it, the second half of its custom_id
    tokens: NDArray[np.uint32]  # of its input

    def custom_ids(self, places: NDArray[np.int64]) -> list[str]:
        """The custom_ids of the rows that would send these requests."""
        parts = zip(self.high[places].tolist(), self.low[places].tolist(), self.rows[places].tolist(), strict=True)
        return [f"{high:016x}{low:016x}-{row:08x}" for high, low, row in parts]


class RequestDigests:
    """The digest of each row's request: 20 bytes a row, as long as the dataset is planned; 24 if it `keeps_rows`."""

    def __init__(self, *, keeps_rows: bool = False) -> None:
        """`keeps_rows`: `distinct` is asked for, which names the rows."""
        self._digests = bytearray()
        self._rows: list[NDArray[np.uint32]] | None = [] if keeps_rows else None
        self._tokens: list[NDArray[np.uint32]] = []

    def add(self, rendered: Sequence[Request | Unrendered]) -> None:
        """The next rows. A row that isn't sent shares nothing."""
        before = len(self._digests) // 16
        for number, request in enumerate(rendered, before):
            if isinstance(request, Unrendered):
                self._digests += number.to_bytes(16, "little")  # a digest of its own
            else:
                self._digests += bytes.fromhex(request.custom_id[:REQUEST_DIGEST_CHARACTERS])
        if self._rows is not None:
            rows = (int(request.custom_id[REQUEST_DIGEST_CHARACTERS + 1 :], 16) for request in rendered)
            self._rows.append(np.fromiter(rows, np.uint32, len(rendered)))
        tokens = (0 if isinstance(request, Unrendered) else request.input_tokens for request in rendered)
        self._tokens.append(np.fromiter(tokens, np.uint32, len(rendered)))

    @property
    def nbytes(self) -> int:
        """The bytes that are held."""
        return len(self._digests) + sum(part.nbytes for part in (*self._tokens, *(self._rows or ())))

    def sharing(self) -> Sharing:
        """Who takes whose answer: the first row with a digest gives it to all others."""
        halves = np.frombuffer(self._digests, np.uint64).reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))  # it is stable, so that equal rows stay in their order
        same = (halves[order][1:] == halves[order][:-1]).all(axis=1)
        takers = np.sort(order[1:][same])
        begins = same & ~np.concatenate([[False], same[:-1]]) if len(same) else same
        tokens = np.concatenate(self._tokens) if self._tokens else np.empty(0, np.uint32)
        return Sharing(takers, np.sort(order[:-1][begins]), tokens[takers].astype(np.int64))

    def distinct(self) -> Distinct | None:
        """Each request once, by the first row that sends it; rows that aren't sent among them, under digests that none has.

        None if the rows weren't kept.
        """
        if self._rows is None:
            return None
        halves = np.frombuffer(self._digests, ">u8").reshape(-1, 2).astype(np.uint64)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        found = halves[order]
        is_first = (
            np.concatenate([[True], (found[1:] != found[:-1]).any(axis=1)]) if len(found) else np.empty(0, np.bool_)
        )
        chosen = order[is_first]
        rows, tokens = (np.concatenate(parts)[chosen] for parts in (self._rows, self._tokens))
        return Distinct(halves[chosen, 0], halves[chosen, 1], rows, tokens)


def places_text(places: NDArray[np.int64], rows: int) -> str:
    """Places among a chunk's rows as hex, one bit a row; "" for none."""
    if not len(places):
        return ""
    marks = np.zeros(rows, np.bool_)
    marks[places] = True
    return np.packbits(marks).tobytes().hex()


def marks_of(text: str, rows: int) -> NDArray[np.bool_]:
    """For each row of a chunk whether it is one of the places in the text."""
    if not text:
        return np.zeros(rows, np.bool_)
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=rows).astype(np.bool_)
