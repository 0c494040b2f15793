"""What a plan is: chunks, and what was found out about their rows. It may still grow while the run asks (growth.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from promptmill.planning.sharing import Distinct, marks_of
from promptmill.planning.token_counts import TokenCounts
from promptmill.records import Request


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous range of rows."""

    index: int  # 0 = first
    start: int  # row number of its first row
    rows: int
    key: str  # names its checkpoint
    input_tokens: int
    unrendered: int  # rows that aren't sent
    has_repetitions: bool = (
        False  # some rows share an id's digest with earlier rows, so the key covers other custom_ids
    )
    taking: str = ""  # rows that take the answer of an earlier row with the same request; places as sharing.py has them
    giving: str = ""  # rows whose answer such rows take

    @property
    def takers(self) -> NDArray[np.bool_]:
        """For each row whether it takes the answer of an earlier row."""
        return marks_of(self.taking, self.rows)

    @property
    def givers(self) -> NDArray[np.bool_]:
        """For each row whether later rows take its answer."""
        return marks_of(self.giving, self.rows)

    @property
    def shared(self) -> int:
        """How many rows take the answer of an earlier one."""
        return int(self.takers.sum()) if self.taking else 0

    @property
    def label(self) -> str:
        """Its rows, counted from 1."""
        return f"{self.start + 1:,} to {self.start + self.rows:,}"


@dataclass(slots=True)
class Plan:
    """All chunks, and what the pass found out."""

    chunks: list[Chunk] = field(default_factory=list[Chunk])
    rows: int = 0
    input_tokens: int = 0  # of the rows that are asked
    unrendered: int = 0
    shared: int = 0  # rows that take the answer of another row with the same request
    first_unrendered: tuple[int, str] | None = None  # row number, message
    largest: tuple[int, int] = (0, 0)  # tokens of the largest request (output limit included), its row number
    repetitions: dict[int, int] = field(
        default_factory=dict[int, int]
    )  # row number → how many earlier rows have its custom_id; rows with none are left out
    first_request: Request | None = None  # None in a plan that an earlier run kept
    fingerprint: str = ""
    distinct: Distinct | None = None  # its requests, where somebody is to look them up
    cached: int = 0  # requests that a cache answers
    cached_tokens: int = 0  # of their input
    drawn: Sequence[int] = ()  # the input's numbers of its rows, if it isn't a plan of all of them
    is_whole: bool = True  # False: rows of the input aren't planned yet
    chunk_rows: int | None = None  # most rows of a chunk, where the job doesn't say
    rows_ahead: int = 0  # of the whole input, while the plan isn't whole
    counts: TokenCounts = field(default_factory=TokenCounts, compare=False, repr=False)

    @property
    def expected_rows(self) -> int:
        """Rows of the whole input, as its files say."""
        return self.rows if self.is_whole else max(self.rows, self.rows_ahead)

    def scaled(self) -> "Plan":
        """The plan as if the rows to come were like those that are planned; for figures only."""
        share = self.expected_rows / max(1, self.rows)
        if share == 1:
            return self
        names = ("rows", "input_tokens", "unrendered", "shared")
        return replace(self, **{name: round(getattr(self, name) * share) for name in names})

    @property
    def asked(self) -> int:
        """How many requests a run would send if nothing were answered."""
        return self.rows - self.unrendered - self.shared

    @property
    def to_send(self) -> int:
        """How many requests a run would send if only the cache had answers."""
        return self.asked - self.cached

    def numbers(self, start: int, rows: int) -> Sequence[int]:
        """The numbers that the input gives to so many rows from place `start` on."""
        return self.drawn[start : start + rows] if self.drawn else range(start, start + rows)

    @property
    def keys(self) -> list[str]:
        """Keys of all chunks, in order."""
        return [chunk.key for chunk in self.chunks]
