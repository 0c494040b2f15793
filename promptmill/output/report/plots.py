"""The report's plots: pace, latency, tokens, cost, retries and failures, each with a caption that says the same in words."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from promptmill.number_words import compact, count, percent, seconds, usd
from promptmill.output.report.drawing import (
    ACCENT,
    BAD,
    INK,
    SECOND,
    Plot,
    draw_svg,
    mark_level,
    time_axis,
    use_log_axis,
)
from promptmill.output.report.histograms import Floats, LogHistogram, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 60
_BARS = 36
_SHORTEST_SECONDS = 2.0  # a shorter run has nothing to show over time
_RETRY_BARS = 30  # at most
_RETRY_SECONDS = 5  # the counts come in steps of this
_RETRY_KINDS = 3  # told apart by colour; the others are one more
_OTHER_KINDS = "other kinds"


def plot_pace(title: str, unit: str, amounts: Floats, series: Series | None, limit: float | None) -> Plot | None:
    """Amounts a minute over time, against the limit; None for a run that was too short."""
    if series is None or series.seconds[-1] < _SHORTEST_SECONDS or len(series.seconds) < 3:
        return None
    rates = amounts / series.minutes
    peak, mean = float(rates.max()), float(amounts.sum() / series.minutes.sum())

    def draw(axes: "Axes") -> None:
        times, label = time_axis(series.seconds)
        starts = np.concatenate([[0.0], times])
        axes.stairs(rates, starts, fill=True, color=ACCENT, alpha=0.18)
        axes.stairs(rates, starts, color=ACCENT, baseline=None, linewidth=1.6)
        mark_level(axes, limit, peak, f"limit {compact(limit or 0)}", float(times[-1]))
        axes.set_xlabel(label)

    told = f"; the limit is {count(limit)}, {percent(min(1.0, mean / limit))} of it was used" if limit else ""
    caption = f"{count(mean)} {unit} a minute on average, {count(peak)} at the peak{told}."
    return Plot(title, caption, draw_svg(title, caption, draw))


def plot_latency(latency: LogHistogram) -> Plot | None:
    """Rows by latency, with the quantiles that matter; None if no row has a latency."""
    if not latency.count or latency.largest <= 0:
        return None
    marks = [(f"p{share:.0%}".replace("%", ""), latency.quantile(share)) for share in (0.5, 0.95, 0.99)]

    def draw(axes: "Axes") -> None:
        _draw_bars(axes, latency, ACCENT)
        for height, (name, value) in zip((1.0, 0.87, 0.74), marks, strict=True):
            axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (2, 2)), ymax=height)
            _write_beside(axes, value, height, f"{name} {seconds(value)}")
        use_log_axis(axes, seconds)

    told = ", ".join(f"{name} {seconds(value)}" for name, value in marks)
    caption = f"{told}; the slowest took {seconds(latency.largest)}. Logarithmic scale."
    return Plot("Latency", caption, draw_svg("Latency of answered rows", caption, draw))


def plot_tokens(tokens: Mapping[str, LogHistogram]) -> Plot | None:
    """Rows by tokens, a histogram for each kind that has any."""
    shown = {name: histogram for name, histogram in tokens.items() if histogram.largest > 0}
    if not shown:
        return None

    def draw(axes: "Axes") -> None:
        for (name, histogram), colour in zip(shown.items(), (ACCENT, SECOND), strict=False):
            _draw_bars(axes, histogram, colour)
            axes.plot([], [], color=colour, linewidth=6, alpha=0.6, label=name)
        use_log_axis(axes, compact)
        if len(shown) > 1:
            axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0, handlelength=1)

    told = [
        f"{name} {count(histogram.mean)} a row on average, {count(histogram.largest)} at most"
        for name, histogram in shown.items()
    ]
    caption = f"Tokens {'; tokens '.join(told)}. Logarithmic scale."
    return Plot("Tokens a row", caption, draw_svg("Rows by tokens", caption, draw))


def plot_cost(series: Series | None, earlier_usd: float, levels: Mapping[str, float]) -> Plot | None:
    """Money spent over time, on top of what earlier runs spent, against the budget and the estimate."""
    if series is None or series.seconds[-1] < _SHORTEST_SECONDS or not series.cost_usd.sum():
        return None
    spent = np.concatenate([[0.0], np.cumsum(series.cost_usd)]) + earlier_usd

    def draw(axes: "Axes") -> None:
        times, label = time_axis(series.seconds)
        starts = np.concatenate([[0.0], times])
        axes.fill_between(starts, spent, color=ACCENT, alpha=0.18, linewidth=0)
        axes.plot(starts, spent, color=ACCENT)
        for name, level in levels.items():
            mark_level(axes, level, float(spent[-1]), f"{name} {usd(level)}", float(times[-1]))
        axes.set_xlabel(label)
        axes.yaxis.set_major_formatter(lambda value, _: usd(round(value, 12)))

    before = f", {usd(earlier_usd)} of it by earlier runs" if earlier_usd else ""
    caption = f"{usd(float(spent[-1]))} in all{before}."
    return Plot("Cost", caption, draw_svg("Money spent over time", caption, draw))


def plot_retries(by_time: Mapping[tuple[str, int], int]) -> Plot | None:
    """Attempts that another followed, over time and by kind of failure; None without any.

    `by_time` counts them by kind and time in seconds since the epoch.
    """
    if not by_time:
        return None
    kinds = Counter[str]()
    for (kind, _), times in by_time.items():
        kinds[kind] += times
    named = [kind for kind, _ in kinds.most_common(_RETRY_KINDS)]
    edges, counts = retry_bars(by_time, named)

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        scaled, label = time_axis(edges)
        below = np.zeros(len(edges) - 1)
        for (name, amounts), colour in zip(counts.items(), (BAD, SECOND, ACCENT, INK), strict=False):
            shown = _with_status(name)
            axes.stairs(below + amounts, scaled, baseline=below, fill=True, color=colour, alpha=0.7, label=shown)
            below = below + amounts
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel(f"{label} since the first retry")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0, handlelength=1)

    told = [f"{count(times)} {_with_status(kind)}" for kind, times in kinds.most_common()]
    caption = f"Attempts that failed and that another followed: {', '.join(told)}."
    return Plot("Retries", caption, draw_svg("Retries over time", caption, draw))


def retry_bars(by_time: Mapping[tuple[str, int], int], named: Sequence[str]) -> tuple[Floats, dict[str, Floats]]:
    """Edges in seconds since the first retry, and the counts between them: of each kind that is `named`, and of the others."""
    first, last = min(at for _, at in by_time), max(at for _, at in by_time)
    steps = (last - first) // _RETRY_SECONDS + 1
    width = ceil(steps / _RETRY_BARS) * _RETRY_SECONDS
    bars = ceil(steps * _RETRY_SECONDS / width)
    counts: dict[str, Floats] = defaultdict(lambda: np.zeros(bars))
    for kind, at in sorted(by_time, key=lambda key: (key[0] not in named, key)):
        counts[kind if kind in named else _OTHER_KINDS][(at - first) // width] += by_time[kind, at]
    return (np.arange(bars + 1) * width).astype(np.float64), dict(counts)


def _with_status(kind: str) -> str:
    return f"{kind} (429)" if kind == "rate_limited" else kind


def plot_failures(kinds: Sequence[tuple[str, int]]) -> Plot | None:
    """Failed rows by kind, the most frequent on top; None when none failed."""
    if not kinds:
        return None
    names, counts = [name for name, _ in kinds], [number for _, number in kinds]

    def draw(axes: "Axes") -> None:
        places = np.arange(len(names))
        axes.barh(places, counts, color=BAD, alpha=0.75, height=0.62)
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", colors=INK)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks([])
        axes.set_xlim(0, max(counts) * 1.4)  # with room for a number beside the longest bar
        for place, number in zip(places, counts, strict=True):
            axes.annotate(count(number), (number, place), (4, 0), textcoords="offset points", va="center")

    caption = ", ".join(f"{name}: {count(number)}" for name, number in kinds) + "."
    height = 0.35 + 0.27 * len(names)
    return Plot("Failures by kind", caption, draw_svg("Failures by kind", caption, draw, height))


def _draw_bars(axes: "Axes", histogram: LogHistogram, colour: str) -> None:
    edges, counts = histogram.bars(_BARS)
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.6)
    axes.set_xscale("log")
    axes.set_ylabel("rows")


def _write_beside(axes: "Axes", value: float, height: float, label: str) -> None:
    """Write a label at a line, on the side that has room."""
    low, high = np.log10(axes.get_xlim())
    is_left = (np.log10(value) - low) / (high - low) > 0.62
    offset, side = (-4, "right") if is_left else (4, "left")
    axes.annotate(
        label,
        (value, height),
        (offset, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha=side,
        va="top",
    )
