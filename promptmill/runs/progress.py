"""What is known of a run while it runs: counts, money, pace. Plain numbers: display.py and tasks/run show them."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.errors import TooManyFailures
from promptmill.records import PASSING_KINDS, Failure, Result, Usage
from promptmill.shorten import shorten
from promptmill.stop import Stop

JUDGED_ROWS = 100  # while a run lasts, the failure ratio is judged from this many rows on
_WINDOW_SECONDS = 30.0  # over which the pace is measured


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run at one moment."""

    total: int  # rows
    planned: int | None  # rows whose plan is known by now; None: of all
    done: int  # rows with a result or a failure, reused ones included
    failed: int
    reused: int  # rows whose result an earlier run left
    spent_usd: Decimal  # for these rows, over all runs
    projected_usd: Decimal | None  # for all rows, None until something was paid
    rows_per_second: float
    tokens_per_minute: float
    tokens_per_row: float  # of rows with an answer of their own, over all runs
    usd_per_minute: float
    seconds_left: float | None


@dataclass(slots=True)
class Progress:
    """Counts of one run. Count every result exactly once."""

    total: int
    max_failure_ratio: float
    stop: Stop
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    reused: int = 0
    cached: int = 0  # answered by a cache
    planned: int | None = None  # rows, while the plan grows
    sharing: int = 0  # rows in all that take another row's answer
    shared: int = 0  # those of them that are done
    sent: int = 0  # rows answered by this run
    sent_usd: Decimal = Decimal(0)  # paid by this run
    spent_usd: Decimal = Decimal(0)
    usage: Usage = field(default_factory=Usage)
    kinds: Counter[str] = field(default_factory=Counter[str])
    started: float = 0.0
    _messages: dict[str, str] = field(default_factory=dict[str, str])  # of the last failure of each kind
    _window: deque[tuple[float, int, int, float]] = field(default_factory=deque[tuple[float, int, int, float]])
    # time, rows, tokens, US dollars

    def __post_init__(self) -> None:
        self.started = self.clock()

    def answered(self, result: Result, earlier_usd: Decimal = Decimal(0)) -> None:
        """Count a result of this run; earlier runs paid `earlier_usd` of its cost."""
        self.done += 1
        self.sent += 1
        self.sent_usd += result.cost_usd - earlier_usd
        self.spent_usd += result.cost_usd
        self.usage += result.usage
        self._mark(result.usage.input_tokens + result.usage.output_tokens, float(result.cost_usd - earlier_usd))
        if isinstance(result, Failure):
            self._failed(result.kind, 1, result.message)

    def share(self, rows: int) -> None:
        """Count rows that take another row's answer, whatever it is; they cost nothing."""
        self.done += rows
        self.shared += rows

    def reuse(self, answers: pa.Table) -> None:
        """Count answers that an earlier run left, and rows that take one of another row."""
        own, cached = answers["answered_by"].null_count, answers.num_rows - answers["cached_from"].null_count
        self.share(answers.num_rows - own)
        self.done += own
        self.reused += own - cached
        self.cached += cached
        self.spent_usd += pc.sum(answers["cost_usd"]).as_py() or Decimal(0)
        self.usage += Usage(
            pc.sum(answers["input_tokens"]).as_py() or 0,
            pc.sum(answers["cached_input_tokens"]).as_py() or 0,
            pc.sum(answers["output_tokens"]).as_py() or 0,
            pc.sum(answers["reasoning_tokens"]).as_py() or 0,
        )
        failed = answers.filter(pc.is_valid(answers["kind"]))
        kinds = failed["kind"].to_pylist()
        for kind, count in Counter(kinds).items():
            self._failed(kind, count, str(failed["message"][kinds.index(kind)].as_py()))

    def refuse_failed_run(self) -> None:
        """Raises: TooManyFailures when, at the run's end, more rows failed than are allowed, however few rows there are."""
        if self.failed > self.max_failure_ratio * self._judged:
            raise self.stop.because(self._too_many())

    def _failed(self, kind: str, count: int, message: str) -> None:
        self.failed += count
        self.kinds[kind] += count
        self._messages[kind] = message
        if self._judged < JUDGED_ROWS or self.stop.reason is not None:
            return
        if self.failed > self.max_failure_ratio * self._judged:
            self.stop.because(self._too_many())

    @property
    def _judged(self) -> int:
        """Rows with an answer or a failure of their own."""
        return self.done - self.shared

    def _too_many(self) -> TooManyFailures:
        return too_many_failures(self.failed, self._judged, self.kinds, self.max_failure_ratio, self._messages)

    def _mark(self, tokens: int, usd: float) -> None:
        now = self.clock()
        self._window.append((now, 1, tokens, usd))
        if len(self._window) > 4096:  # keep the window short at any pace: merge its older half, second by second
            self._merge()

    def _merge(self) -> None:
        merged: dict[int, tuple[int, int, float]] = {}
        for at, rows, tokens, usd in self._window:
            before = merged.get(int(at), (0, 0, 0.0))
            merged[int(at)] = before[0] + rows, before[1] + tokens, before[2] + usd
        self._window = deque((float(at), *sums) for at, sums in merged.items())

    def snapshot(self) -> Snapshot:
        """The run now."""
        now = self.clock()
        while self._window and self._window[0][0] < now - _WINDOW_SECONDS:
            self._window.popleft()
        span = max(1.0, min(_WINDOW_SECONDS, now - self.started))
        pace = sum(entry[1] for entry in self._window) / span
        tokens = sum(entry[2] for entry in self._window) / span * 60
        left = self.total - self.done - (self.sharing - self.shared)
        projected = self.spent_usd + self.sent_usd / self.sent * left if self.sent else None
        return Snapshot(
            self.total,
            self.planned,
            self.done,
            self.failed,
            self.reused,
            self.spent_usd,
            projected,
            pace,
            tokens,
            (self.usage.input_tokens + self.usage.output_tokens) / max(1, self._judged),
            sum(entry[3] for entry in self._window) / span * 60,
            left / pace if pace > 0 else None,
        )


def too_many_failures(
    failed: int, rows: int, kinds: Counter[str], most: float, messages: Mapping[str, str]
) -> TooManyFailures:
    """Why a run with so many failures doesn't go on; `messages` are some of its kinds', `most` is the ratio allowed."""
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    commonest = kinds.most_common(1)[0][0]
    cause = shorten(messages.get(commonest, ""), 200).rstrip(".…")
    return TooManyFailures.with_way_on(
        f"{failed:,} of {rows:,} rows failed ({counts}); the limit is {most:.1%} (max_failure_ratio). The commonest cause is "
        f"{commonest}: {cause}.",
        is_passing=all(kind in PASSING_KINDS for kind in kinds),
    )
