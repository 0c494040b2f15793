"""A run's progress in a terminal: in one line, or drawn by rich."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from promptmill.terminal import Terminal

if TYPE_CHECKING:  # a command that shows no progress starts without them
    from promptmill.runs.engine import Engine
    from promptmill.runs.progress import Snapshot


def describe_progress(engine: "Engine", snapshot: "Snapshot") -> str:
    """Progress in one line."""
    return " · ".join(f"{name} {value}" for name, value in _figures(engine, snapshot))


def _figures(engine: "Engine", snapshot: "Snapshot") -> list[tuple[str, str]]:
    limiter, budget, quiet = engine.client.limiter, engine.client.budget, engine.client.quiet
    tokens_limit = f" of {limiter.tokens_per_minute:,.0f}" if limiter.tokens_per_minute else ""
    requests_limit = f" (limit {limiter.requests_per_minute / 60:,.1f})" if limiter.requests_per_minute else ""
    projected = f", {snapshot.projected_usd:,.4f} projected" if snapshot.projected_usd is not None else ""
    cap = f", cap {budget.cap_usd}" if budget.cap_usd is not None else ""
    return [
        ("rows", f"{snapshot.done:,} of {snapshot.total:,}"),
        ("failed", f"{snapshot.failed:,}"),
        ("reused", f"{snapshot.reused:,}"),
        ("rows/s", f"{snapshot.rows_per_second:,.1f}{requests_limit}"),
        ("tokens/min", f"{snapshot.tokens_per_minute:,.0f}{tokens_limit}"),
        ("in flight", f"{engine.client.counters.in_flight:,}"),
        ("USD", f"{snapshot.spent_usd:,.4f}{projected}{cap}"),
        ("left", format_seconds(snapshot.seconds_left)),
        *([("nothing sent", f"for {quiet.seconds:,.0f} s: {quiet.reason}")] if quiet is not None else []),
    ]


def format_seconds(seconds: float | None) -> str:
    """`1h 02m`, `3m 20s`, `12s`; a question mark for None."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


class LineDisplay:
    """One line on stderr that is rewritten in place, with a running clock."""

    def __init__(self, name: str) -> None:
        self._status = Terminal(stderr=True).status(name)
        self._name = name
        self._started = time.monotonic()

    def update(self, line: str) -> None:
        """Show this line."""
        elapsed = format_seconds(time.monotonic() - self._started)
        self._status.update(escape(f"{self._name} · {elapsed} · {line}"))

    def __enter__(self) -> Self:
        self._status.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.__exit__(kind, error, trace)


class Display:
    """A live display of one run on stderr."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._live = Live(console=Terminal(stderr=True), refresh_per_second=4, transient=False)

    def update(self, snapshot: "Snapshot") -> None:
        """Draw the run as it is now."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", justify="right")
        grid.add_column()
        grid.add_row(
            self._engine.job.name, ProgressBar(total=max(1, snapshot.total), completed=snapshot.done, width=48)
        )
        for name, value in _figures(self._engine, snapshot):
            grid.add_row(name, escape(value))
        self._live.update(grid)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)
