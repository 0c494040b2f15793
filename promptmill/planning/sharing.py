"""Rows that send the same request: the first of them asks, and the others take its answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptmill.checkpoints.answer_files import REQUEST_DIGEST_CHARACTERS
from promptmill.planning.many_keys import HELD_ROWS, ManyKeys
from promptmill.planning.rendering import Unrendered
from promptmill.records import Request


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which rows take the answer of which: one bit a row each, and what that spares each chunk."""

    takers: NDArray[np.uint8]  # rows that take the answer of an earlier row
    givers: NDArray[np.uint8]  # rows whose answer others take
    rows: int  # that take one
    spared: NDArray[np.int64]  # of each chunk, the input tokens of its takers' requests, which aren't sent

    def taking(self, start: int, rows: int) -> NDArray[np.int64]:
        """Which of so many rows from a row on take an answer, as places among them."""
        return _places(self.takers, start, rows)

    def giving(self, start: int, rows: int) -> NDArray[np.int64]:
        """Which of them give theirs."""
        return _places(self.givers, start, rows)


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
    """The digest of each row's request; in memory, 24 bytes a row if it `keeps_rows`, and otherwise bounded (many_keys.py)."""

    def __init__(self, *, keeps_rows: bool = False, held_rows: int = HELD_ROWS) -> None:
        """`keeps_rows`: `distinct` is asked for, which names the rows. `held_rows`: how many stay in memory otherwise."""
        self._keys = ManyKeys(held_rows)
        self._added = 0
        self._digests = bytearray()
        self._rows: list[NDArray[np.uint32]] | None = [] if keeps_rows else None
        self._tokens: list[NDArray[np.uint32]] = []

    def add(self, rendered: Sequence[Request | Unrendered]) -> None:
        """The next rows. A row that isn't sent shares nothing."""
        digests = bytearray.fromhex(
            "".join(
                number.to_bytes(16, "little").hex()  # a digest of its own
                if isinstance(request, Unrendered)
                else request.custom_id[:REQUEST_DIGEST_CHARACTERS]
                for number, request in enumerate(rendered, self._added)
            )
        )
        tokens = [0 if isinstance(request, Unrendered) else request.input_tokens for request in rendered]
        halves = np.frombuffer(digests, np.uint64).reshape(-1, 2)
        numbers = np.arange(self._added, self._added + len(rendered))
        self._keys.add(halves[:, 0], halves[:, 1], numbers, tokens)
        self._added += len(rendered)
        if self._rows is not None:
            rows = (int(request.custom_id[REQUEST_DIGEST_CHARACTERS + 1 :], 16) for request in rendered)
            self._rows.append(np.fromiter(rows, np.uint32, len(rendered)))
            self._digests += digests
            self._tokens.append(np.array(tokens, np.uint32))

    @property
    def nbytes(self) -> int:
        """The bytes that are held in memory."""
        kept = sum(part.nbytes for part in (*self._tokens, *(self._rows or ())))
        return self._keys.nbytes + len(self._digests) + kept

    def sharing(self, starts: Sequence[int]) -> Sharing:
        """Who takes whose answer: the first row with a digest gives it to all others. `starts`: the chunks' first rows."""
        takers, givers = (np.zeros((self._added + 7) // 8, np.uint8) for _ in range(2))
        spared = np.zeros(len(starts), np.int64)
        taking = 0
        for found, is_first in self._keys.repeated():
            numbers = found["number"].astype(np.int64)
            _mark(givers, numbers[is_first])
            _mark(takers, numbers[~is_first])
            chunks = np.searchsorted(starts, numbers[~is_first], "right") - 1
            np.add.at(spared, chunks, found["amount"][~is_first].astype(np.int64))
            taking += len(chunks)
        return Sharing(takers, givers, taking, spared)

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


def _mark(bits: NDArray[np.uint8], numbers: NDArray[np.int64]) -> None:
    np.bitwise_or.at(bits, numbers >> 3, (128 >> (numbers & 7)).astype(np.uint8))


def _places(bits: NDArray[np.uint8], start: int, rows: int) -> NDArray[np.int64]:
    some = np.unpackbits(bits[start >> 3 : (start + rows + 7) >> 3])
    return np.flatnonzero(some[start & 7 : (start & 7) + rows])


def places_text(places: NDArray[np.int64] | Sequence[int], rows: int) -> str:
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
