"""A run's progress in a terminal: in one line, or drawn by rich."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from promptmill.errors import TooManyFailures
from promptmill.number_words import count, duration, usd
from promptmill.output.summary import describe_retries
from promptmill.printable import printable
from promptmill.terminal import Terminal

if TYPE_CHECKING:  # a command that shows no progress starts without them
    from promptmill.limits.places import Places
    from promptmill.runs.engine import Engine
    from promptmill.runs.progress import Snapshot


def describe_progress(engine: "Engine", snapshot: "Snapshot") -> str:
    """Progress in one line."""
    return " · ".join(f"{name} {value}" for name, value in _figures(engine, snapshot))


def _figures(engine: "Engine", snapshot: "Snapshot") -> list[tuple[str, str]]:
    limiter, budget, quiet = engine.client.limiter, engine.client.budget, engine.client.quiet
    tokens_limit = f" of {limiter.tokens_per_minute:,.0f}" if limiter.tokens_per_minute else ""
    requests_limit = f" (limit {limiter.requests_per_minute / 60:,.1f})" if limiter.requests_per_minute else ""
    projected = f", {usd(snapshot.projected_usd)} projected" if snapshot.projected_usd is not None else ""
    cap = f", budget {usd(budget.cap_usd)}" if budget.cap_usd is not None else ""
    planned = "" if snapshot.planned is None else f" ({count(snapshot.planned)} planned so far)"
    waiting = engine.client.counters.pausing + limiter.waiting
    return [
        ("rows", f"{count(snapshot.done)} of {count(snapshot.total)}{planned}"),
        ("failed", count(snapshot.failed)),
        ("reused", count(snapshot.reused)),
        ("rows/s", f"{snapshot.rows_per_second:,.1f}{requests_limit}"),
        ("tokens/min", f"{snapshot.tokens_per_minute:,.0f}{tokens_limit}, {count(snapshot.tokens_per_row)} a row"),
        ("in flight", f"{_describe_places(engine.places)}, {count(waiting)} waiting"),
        ("limited by", _describe_limit(engine)),
        *([("retries", describe_retries(retries))] if (retries := engine.client.counters.retries_by_kind) else []),
        ("cost", f"{usd(snapshot.spent_usd)}{projected}{cap}, {usd(snapshot.usd_per_minute)} a minute"),
        ("left", format_seconds(snapshot.seconds_left)),
        *([("paused", _describe_pause(engine))] if engine.steering.paused is not None else []),
        *(
            [("nothing sent", f"for {quiet.seconds:,.0f} s: {quiet.reason}")]
            if quiet is not None and engine.steering.paused is None
            else []
        ),
    ]


def _describe_places(places: "Places") -> str:
    """Requests on their way, and how many may be."""
    hung = f", {places.hung:,} more hang" if places.hung else ""
    found = "found" if places.is_found else "limits.max_concurrency"
    return f"{places.on_wire:,} of {places.limit:,} ({found}){hung}"


def _describe_pause(engine: "Engine") -> str:
    """Since when and by whom, and what is on its way."""
    on_their_way = engine.client.counters.in_flight
    sent = f"; {count(on_their_way)} requests are on their way" if on_their_way else ""
    return f"{(engine.steering.pause or '').removeprefix('paused ')}{sent}"


def _describe_limit(engine: "Engine") -> str:
    """What holds the run up now."""
    limit = engine.limit_watch.now
    if limit == "concurrency" and engine.places.is_found:
        return "concurrency: so many the provider answers well"
    return "nothing" if limit is None else limit


def format_seconds(seconds: float | None) -> str:
    """A duration in words; a question mark for None."""
    return "?" if seconds is None else duration(seconds)


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


class NotebookLine:
    """A bar and one line below a notebook's cell, rewritten in place by a carriage return, which every notebook knows."""

    _WIDTH = 24

    def __init__(self, engine: "Engine", stream: TextIO) -> None:
        self._engine, self._stream = engine, stream
        self._longest = 0

    def update(self, snapshot: "Snapshot") -> None:
        """Draw the run as it is now."""
        filled = self._WIDTH * snapshot.done // max(1, snapshot.total)
        line = printable(f"{'█' * filled}{'░' * (self._WIDTH - filled)} {describe_progress(self._engine, snapshot)}")
        self._longest = max(self._longest, len(line))
        self._stream.write("\r" + line.ljust(self._longest))
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.write("\n")


class Display:
    """A live display of one run on stderr. It gives way to the summary, or to the error, if that says how far the run came."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._live = Live(console=Terminal(stderr=True), refresh_per_second=4, transient=False)

    @property
    def is_left(self) -> bool:
        """Whether it stays in the terminal after the end of the run: nothing else would say how far it came."""
        reason = self._engine.stop.reason
        return reason is not None and not isinstance(reason, TooManyFailures)

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
        self._live.transient = not self.is_left
        self._live.__exit__(kind, error, trace)
