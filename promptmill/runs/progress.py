"""What is known of a run while it runs: counts, money, pace. Plain numbers: display.py and tasks/run show them."""

import time
from collections import Counter, deque
from collections.abc import Callable
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
    done: int  # rows with a result or a failure, reused ones included
    failed: int
    reused: int  # rows whose result an earlier run left
    spent_usd: Decimal  # for these rows, over all runs
    projected_usd: Decimal | None  # for all rows, None until something was paid
    rows_per_second: float
    tokens_per_minute: float
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
    sent: int = 0  # rows answered by this run
    sent_usd: Decimal = Decimal(0)  # paid by this run
    spent_usd: Decimal = Decimal(0)
    usage: Usage = field(default_factory=Usage)
    kinds: Counter[str] = field(default_factory=Counter[str])
    started: float = 0.0
    _last_message: str = ""  # of a failed row
    _window: deque[tuple[float, int, int]] = field(default_factory=deque[tuple[float, int, int]])

    def __post_init__(self) -> None:
        self.started = self.clock()

    def answered(self, result: Result, earlier_usd: Decimal = Decimal(0)) -> None:
        """Count a result of this run; earlier runs paid `earlier_usd` of its cost."""
        self.done += 1
        self.sent += 1
        self.sent_usd += result.cost_usd - earlier_usd
        self.spent_usd += result.cost_usd
        self.usage += result.usage
        self._mark(result.usage.input_tokens + result.usage.output_tokens)
        if isinstance(result, Failure):
            self._failed(result.kind, 1, result.message)

    def reuse(self, answers: pa.Table) -> None:
        """Count answers that an earlier run left."""
        self.done += answers.num_rows
        self.reused += answers.num_rows
        self.spent_usd += pc.sum(answers["cost_usd"]).as_py() or Decimal(0)
        self.usage += Usage(
            pc.sum(answers["input_tokens"]).as_py() or 0,
            pc.sum(answers["cached_input_tokens"]).as_py() or 0,
            pc.sum(answers["output_tokens"]).as_py() or 0,
        )
        failed = answers.filter(pc.is_valid(answers["kind"]))
        for kind, count in Counter(failed["kind"].to_pylist()).items():
            self._failed(kind, count, str(failed["message"][0].as_py()))

    def refuse_failed_run(self) -> None:
        """Raises: TooManyFailures when, at the run's end, more rows failed than are allowed, however few rows there are."""
        if self.failed > self.max_failure_ratio * self.done:
            raise self.stop.because(TooManyFailures(self._describe(self._last_message)))

    def _failed(self, kind: str, count: int, message: str) -> None:
        self.failed += count
        self.kinds[kind] += count
        self._last_message = message
        if self.done >= JUDGED_ROWS and self.failed > self.max_failure_ratio * self.done and self.stop.reason is None:
            self.stop.because(TooManyFailures(self._describe(message)))

    @property
    def _way_on(self) -> str:
        if all(kind in PASSING_KINDS for kind in self.kinds):
            return "Run the same command again once the cause is over: it asks these rows again"
        return "Fix the cause and run with --retry-failed"

    def _describe(self, message: str) -> str:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.kinds.most_common())
        reason = shorten(message, 200).rstrip(".")
        return (
            f"{self.failed:,} of {self.done:,} rows failed ({kinds}); the limit is {self.max_failure_ratio:.1%} "
            f"(max_failure_ratio). The last said: {reason}. {self._way_on}, "
            "or raise max_failure_ratio: what was answered is kept."
        )

    def _mark(self, tokens: int) -> None:
        now = self.clock()
        self._window.append((now, 1, tokens))
        if len(self._window) > 4096:  # keep the window short at any pace: merge its older half, second by second
            self._merge()

    def _merge(self) -> None:
        merged: dict[int, list[int]] = {}
        for at, rows, tokens in self._window:
            entry = merged.setdefault(int(at), [0, 0])
            entry[0] += rows
            entry[1] += tokens
        self._window = deque((float(at), rows, tokens) for at, (rows, tokens) in merged.items())

    def snapshot(self) -> Snapshot:
        """The run now."""
        now = self.clock()
        while self._window and self._window[0][0] < now - _WINDOW_SECONDS:
            self._window.popleft()
        span = max(1.0, min(_WINDOW_SECONDS, now - self.started))
        pace = sum(entry[1] for entry in self._window) / span
        tokens = sum(entry[2] for entry in self._window) / span * 60
        left = self.total - self.done
        projected = self.spent_usd + self.sent_usd / self.sent * left if self.sent else None
        return Snapshot(
            self.total,
            self.done,
            self.failed,
            self.reused,
            self.spent_usd,
            projected,
            pace,
            tokens,
            left / pace if pace > 0 else None,
        )
