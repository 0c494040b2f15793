"""What earlier runs answered, as a new run sees it: the answers that it keeps, and the failures that it asks for again."""

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ANSWERS, merge_answers, without_references
from promptmill.checkpoints.index import AnswerIndex
from promptmill.checkpoints.set_aside import SetAside
from promptmill.checkpoints.store import Listing, Store
from promptmill.errors import CheckpointUnreadable
from promptmill.job.spec import RetryFailed
from promptmill.planning.plan import Chunk, Plan
from promptmill.records import PASSING_KINDS, Result

log = logging.getLogger("promptmill")
_PASSING = pa.array(sorted(PASSING_KINDS))


@dataclass(frozen=True, slots=True)
class Again:
    """Which failures of earlier runs a run asks for again."""

    before: float  # those that were answered before; seconds since the epoch
    is_all: bool  # of every kind; otherwise those of PASSING_KINDS


@dataclass(frozen=True, slots=True)
class Kept:
    """The answers that were there when a run began."""

    store: Store
    listing: Listing
    index: AnswerIndex
    again: Again | None = None

    def finished(self, chunk: Chunk) -> pa.Table | None:
        """All answers of a finished chunk, in row order; None if the chunk has work to do.

        Blocks. Raises: StorageFailed.
        """
        if not self.listing.is_finished(chunk.key):
            return None
        try:
            answers = self.store.load_chunk(chunk.key, chunk.has_repetitions)
        except CheckpointUnreadable:
            return None
        is_whole = answers.num_rows == chunk.rows and not self.to_retry(answers).num_rows
        return answers if is_whole and _takes_what_is_given(chunk, answers) else None

    def known(self, chunk: Chunk, order: Sequence[str]) -> pa.Table:
        """What earlier runs found for these rows, each once, failures that the run asks for again included. Blocks."""
        found = [self.index.find(order)]
        with suppress(CheckpointUnreadable):
            if f"{chunk.key}.parquet" in self.listing.sizes:
                found.append(without_references(self.store.load_chunk(chunk.key, chunk.has_repetitions)))
        return merge_answers(found)

    def warn_of_damage(self) -> None:
        """Log in one line how many answer files are damaged. Call it once every finished chunk was looked at."""
        damaged = sorted(self.store.damaged)
        if damaged:
            log.warning(
                "%d answer files in %s are damaged, or hold the answers of other rows; the first is %s. The run asks for "
                "their rows again, unless another file answers them.",
                len(damaged),
                self.store.storage.shown,
                damaged[0],
            )

    def to_retry(self, answers: pa.Table) -> pa.Table:
        """The failures among these answers that the run asks for again."""
        return answers.filter(_is_asked_again(answers, self.again)) if self.again is not None else ANSWERS.empty_table()

    def to_keep(self, answers: pa.Table) -> pa.Table:
        """Those of these answers that the run keeps."""
        return answers.filter(pc.invert(_is_asked_again(answers, self.again))) if self.again is not None else answers

    def dated(self, result: Result) -> Result:
        """A result of this run with a time that no process takes for that of a failure before it, whatever our clock says."""
        if self.again is None or result.answered_at >= self.again.before:
            return result
        return replace(result, answered_at=self.again.before)


def _takes_what_is_given(chunk: Chunk, answers: pa.Table) -> bool:
    """Whether the rows that were kept without an answer of their own take another row's in this plan too.

    The row that asked for them may be gone from the input, or the job now asks for each row.
    """
    has_own = answers["answered_by"].is_null().to_numpy(zero_copy_only=False)
    return bool((has_own | chunk.takers).all())


def _is_asked_again(answers: pa.Table, again: Again) -> pa.ChunkedArray:
    kinds = answers["kind"]
    is_chosen = pc.is_valid(kinds) if again.is_all else pc.is_in(kinds, value_set=_PASSING)
    return pc.and_(is_chosen, pc.less(answers["answered_at"], again.before))


def again_from(before: float | None, is_all: bool) -> Again | None:
    """As a state file holds it, where None asks for none again."""
    return None if before is None else Again(before, is_all)


def asked_again(store: Store, scope: RetryFailed, now: float) -> Again | None:
    """The failures there are that a run asks for again; `now` in seconds since the epoch. Blocks. Raises: StorageFailed."""
    if scope == "all":
        return Again(_retry_mark(store, now), is_all=True)
    return Again(now, is_all=False) if scope == "passing" else None


def _retry_mark(store: Store, now: float) -> float:
    """The time that tells the failures there are from those to come: later than each of them; seconds since the epoch.

    It isn't simply now: a machine whose clock is an hour ahead dates its failures an hour from now. `dated` keeps the
    other end, where the clock of the machine that asks again is behind. Blocks. Raises: StorageFailed.
    """
    listing = store.listing()
    names = [name for name in listing.sizes if name.endswith(".parquet")]  # of rows that aren't planned yet, too
    newest = now
    for _, answers in store.load_all(names, ("kind", "answered_at")):
        last = pc.max(answers.filter(pc.is_valid(answers["kind"]))["answered_at"]).as_py()
        newest = newest if last is None else max(newest, math.nextafter(last, math.inf))
    return newest


def find_kept(store: Store, plan: Plan, again: Again | None = None, chunks: Sequence[Chunk] | None = None) -> Kept:
    """The answers that are there now, for all chunks of the plan or only for `chunks`. Blocks. Raises: StorageFailed.

    What this machine kept of an earlier run that couldn't store it is stored first.
    """
    SetAside(store).bring_back()
    listing = store.listing()
    ours = None if chunks is None else {chunk.key for chunk in chunks}
    others = [] if ours is None else [key for key in plan.keys if key not in ours]
    return Kept(store, listing, AnswerIndex(store, listing.loose(plan.keys, others)), again)
