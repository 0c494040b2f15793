"""Adds up the cost of the stored answers. It counts each answer once, even if several files hold it.

Two files hold an answer if a process died between writing a chunk and removing the files that it replaces, or if chunk
bounds changed. If a row has two answers with different times or costs, both may have been paid for, and the cost of a
retried failure is part of the next answer's cost. So such a row has a least and a most. If the provider told no usage and
we counted a row's tokens ourselves, its least is 0 and its most is our own count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.arrow import pc
from promptmill.checkpoints.accounts import Cleaned
from promptmill.checkpoints.held_rows import HeldRows
from promptmill.checkpoints.index import hash_custom_id
from promptmill.checkpoints.store import Listing, Store

_MONEY_COLUMNS = (
    "custom_id",
    "kind",
    "answered_at",
    "cost_usd",
    "latency_seconds",
    "usage_estimated",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "answered_by",
    "cached_from",
)
_STEP_USD = Decimal("1e-12")  # digits after the point in the money column
_FAILED, _ESTIMATED, _BATCH, _SHARED, _CACHED = 1, 2, 4, 8, 16
_LOOKS = 5  # tries to read a folder while a run replaces its files

_ROW = np.dtype(
    [
        ("key", "<u8"),
        ("cost", "<i8"),  # in _STEP_USD
        ("at", "<f8"),
        ("flags", "u1"),
        ("input", "<u4"),
        ("cached", "<u4"),
        ("output", "<u4"),
    ]
)
_Rows = NDArray[np.void]


@dataclass(slots=True)
class TokenSums:
    """Tokens and cost of answers that cost something; the cost in trillionths of a US dollar."""

    input: int = 0
    cached: int = 0
    output: int = 0
    steps: int = 0

    @property
    def usd(self) -> Decimal:
        """What they cost."""
        return self.steps * _STEP_USD


@dataclass(slots=True)
class KeptSums:
    """Sums over rows, each row once; money in trillionths of a US dollar."""

    delivered: int = 0
    delivered_steps: int = 0
    failed: int = 0  # rows without an answer that cost something
    failed_steps: int = 0
    estimated_steps: int = 0  # the part of both that we counted ourselves
    shared: int = 0
    cached: int = 0  # rows that a cache answered
    again_known_steps: int = 0  # of further answers to the same rows
    again_at_most_steps: int = 0
    online: TokenSums = field(default_factory=TokenSums)
    batch: TokenSums = field(default_factory=TokenSums)

    @property
    def known_usd(self) -> Decimal:
        """The least that the provider billed, in US dollars."""
        steps = self.delivered_steps + self.failed_steps + self.again_known_steps - self.estimated_steps
        return max(0, steps) * _STEP_USD

    @property
    def at_most_usd(self) -> Decimal:
        """The most that the provider billed for these answers, in US dollars."""
        return (self.delivered_steps + self.failed_steps + self.again_at_most_steps) * _STEP_USD


class KeptMoney:
    """Adds up answers, in bounded memory."""

    def __init__(self) -> None:
        self._held = HeldRows(_ROW)
        self._sums = KeptSums()

    def add(self, answers: pa.Table) -> None:
        """Take answers that may include copies. Raises: StorageFailed."""
        self._held.add(_rows_of(answers))

    def add_planned(self, answers: pa.Table) -> None:
        """Take answers with no row twice; call it after all calls of `add`. Raises: StorageFailed."""
        if self._held.is_empty:
            _add(self._sums, _rows_of(answers, with_keys=False))
            return
        rows = _rows_of(answers)
        _add(self._sums, rows[~self._held.add_copies(rows)])

    def sums(self) -> KeptSums:
        """The sums of all answers; call it once. Raises: StorageFailed."""
        for rows in self._held.in_order():
            _add_grouped(self._sums, rows)
        return self._sums


def _least_and_most(entries: Sequence[tuple[float, int, bool]]) -> tuple[int, int]:
    """The least and the most that the answers of one row cost; they are (answered at, cost, is a failure), oldest first.

    A failure's cost is part of a later answer's cost if that answer costs at least as much, since retries add up.
    """
    distinct = sorted(set(entries))
    most = 0
    for place, (_, cost, is_failure) in enumerate(distinct):
        is_part = is_failure and any(later >= cost for _, later, _ in distinct[place + 1 :])
        most += 0 if is_part else cost
    return max(cost for _, cost, _ in distinct), most


def read_kept_money(store: Store, cleaned: Sequence[Cleaned] = (), but: Sequence[str] = ()) -> tuple[KeptMoney, int]:
    """The money of all answer files except some, and the number of unreadable files. Blocks. Raises: StorageFailed.

    `cleaned` are records of `promptmill clean`. If it was killed, their files may still exist, but the records count their
    money already.
    """
    for _ in range(_LOOKS - 1):
        money, unreadable, missing = _read_once(store, store.listing(), cleaned, frozenset(but))
        if not missing:
            return money, unreadable
    money, unreadable, missing = _read_once(store, store.listing(), cleaned, frozenset(but))
    return money, unreadable + missing


def _read_once(
    store: Store, listing: Listing, cleaned: Sequence[Cleaned], but: frozenset[str]
) -> tuple[KeptMoney, int, int]:
    """The money, the number of damaged files, and the number of files that disappeared after the listing."""
    money, found = KeptMoney(), 0
    newest = {name: record.newest_at for record in cleaned for name in record.names}
    names = sorted(name for name in listing.sizes if name.endswith(".parquet") and name not in but)
    for name, table in store.load_all(names, _MONEY_COLUMNS):
        found += 1
        if name in newest:
            table = table.filter(pc.greater(table["answered_at"], newest[name]))  # noqa: PLW2901
        money.add(table)
    damaged = len(store.damaged.intersection(names))
    return money, damaged, len(names) - found - damaged


def _rows_of(answers: pa.Table, *, with_keys: bool = True) -> _Rows:
    rows = np.zeros(answers.num_rows, _ROW)
    if with_keys:
        ids: list[str] = answers["custom_id"].to_pylist()
        rows["key"] = np.fromiter((hash_custom_id(custom_id) for custom_id in ids), np.uint64, len(ids))
    rows["cost"] = _steps(answers["cost_usd"])
    rows["at"] = answers["answered_at"].to_numpy()
    rows["input"] = answers["input_tokens"].to_numpy()
    rows["cached"] = answers["cached_input_tokens"].to_numpy()
    rows["output"] = answers["output_tokens"].to_numpy()
    rows["flags"] = (
        _FAILED * _is_set(answers["kind"])
        | _ESTIMATED * pc.fill_null(answers["usage_estimated"], False).to_numpy().astype(np.uint8)
        | _BATCH * (1 - _is_set(answers["latency_seconds"]))
        | _SHARED * _is_set(answers["answered_by"])
        | _CACHED * _is_set(answers["cached_from"])
    )
    return rows


def _is_set(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    return pc.is_valid(column).to_numpy().astype(np.uint8)


def _steps(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A money column as whole steps: its 18 digits fit the lower half of a decimal's 16 bytes."""
    found = [np.empty(0, np.int64)]
    for chunk in column.chunks:
        words = np.frombuffer(chunk.buffers()[1], "<i8")
        found.append(words[2 * chunk.offset : 2 * (chunk.offset + len(chunk)) : 2])
    return np.concatenate(found)


def _add(sums: KeptSums, rows: _Rows) -> None:
    flags, cost = rows["flags"], rows["cost"]
    is_failed, is_batch = (flags & _FAILED) > 0, (flags & _BATCH) > 0
    sums.delivered += int((~is_failed).sum())
    sums.delivered_steps += int(cost[~is_failed].sum())
    sums.failed += int((is_failed & (cost > 0)).sum())
    sums.failed_steps += int(cost[is_failed].sum())
    sums.estimated_steps += int(cost[(flags & _ESTIMATED) > 0].sum())
    sums.shared += int(((flags & _SHARED) > 0).sum())
    sums.cached += int(((flags & _CACHED) > 0).sum())
    is_paid = cost > 0
    for tokens, chosen in ((sums.online, rows[is_paid & ~is_batch]), (sums.batch, rows[is_paid & is_batch])):
        tokens.input += int(chosen["input"].sum(dtype=np.int64))
        tokens.cached += int(chosen["cached"].sum(dtype=np.int64))
        tokens.output += int(chosen["output"].sum(dtype=np.int64))
        tokens.steps += int(chosen["cost"].sum())


def _add_grouped(sums: KeptSums, rows: _Rows) -> None:
    """All answers of some rows, by row and oldest first."""
    starts = np.flatnonzero(np.concatenate([[True], rows["key"][1:] != rows["key"][:-1]]))
    sizes = np.diff(np.append(starts, len(rows)))
    is_single = np.repeat(sizes == 1, sizes)
    for group in np.flatnonzero(sizes > 1):
        _add_group(sums, rows[starts[group] : starts[group] + sizes[group]])
    _add(sums, rows[is_single])


def _add_group(sums: KeptSums, rows: _Rows) -> None:
    """One row's answers, oldest first: the run delivers the newest success, else the newest failure."""
    is_failed = (rows["flags"] & _FAILED) > 0
    place = int(np.flatnonzero(~is_failed)[-1]) if not is_failed.all() else len(rows) - 1
    _add(sums, rows[place : place + 1])
    entries = [(float(row["at"]), int(row["cost"]), bool(row["flags"] & _FAILED)) for row in rows]
    least, most = _least_and_most(entries)
    sums.again_known_steps += least - int(rows[place]["cost"])
    sums.again_at_most_steps += most - int(rows[place]["cost"])
