"""The report's plots: small SVGs that take their fonts and colours from the page, so that they follow its dark mode.

matplotlib draws them with stand-in colours, which we then replace by the page's CSS variables; texts stay texts. That
makes them a tenth of the size of a PNG that is sharp on a phone. Nothing from the dataset gets into them.
We import matplotlib when we draw a plot: the import takes most of a second.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from markupsafe import Markup, escape

from promptmill.output.report.histograms import Floats, LogHistogram, Series
from promptmill.output.report.wording import compact, count, percent, seconds, usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES = (4.6, 2.5)
_FONT_POINTS = 10.5  # of a plot 331 points wide: on a phone a point is about a pixel
_INK, _MUTED, _GRID, _ACCENT, _SECOND, _BAD = (f"#0000{number:02x}" for number in range(1, 7))
_VARIABLES = {_INK: "ink", _MUTED: "muted", _GRID: "line", _ACCENT: "accent", _SECOND: "second", _BAD: "bad"}
POINTS = 60
_BARS = 36
_SHOWN_LIMIT_RATIO = 2.5  # a limit this many times the peak would flatten the curve: only the caption tells it
_SHORTEST_SECONDS = 2.0  # a shorter run has nothing to show over time
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "promptmill",
    "font.size": _FONT_POINTS,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.xmargin": 0,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_joinstyle": "round",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing, with a title and a caption that says the same in words."""

    title: str
    caption: str
    svg: Markup


def plot_pace(title: str, unit: str, amounts: Floats, series: Series | None, limit: float | None) -> Plot | None:
    """Amounts a minute over time, against the limit; None for a run that was too short."""
    if series is None or series.seconds[-1] < _SHORTEST_SECONDS or len(series.seconds) < 3:
        return None
    rates = amounts / series.minutes
    peak, mean = float(rates.max()), float(amounts.sum() / series.minutes.sum())

    def draw(axes: "Axes") -> None:
        times, label = _times(series.seconds)
        starts = np.concatenate([[0.0], times])
        axes.stairs(rates, starts, fill=True, color=_ACCENT, alpha=0.18)
        axes.stairs(rates, starts, color=_ACCENT, baseline=None, linewidth=1.6)
        _mark_level(axes, limit, peak, f"limit {compact(limit or 0)}", float(times[-1]))
        axes.set_xlabel(label)

    told = f"; the limit is {count(limit)}, {percent(min(1.0, mean / limit))} of it was used" if limit else ""
    caption = f"{count(mean)} {unit} a minute on average, {count(peak)} at the peak{told}."
    return Plot(title, caption, _draw(title, caption, draw))


def plot_latency(latency: LogHistogram) -> Plot | None:
    """Rows by latency, with the quantiles that matter; None if no row has a latency."""
    if not latency.count or latency.largest <= 0:
        return None
    marks = [(f"p{share:.0%}".replace("%", ""), latency.quantile(share)) for share in (0.5, 0.95, 0.99)]

    def draw(axes: "Axes") -> None:
        _draw_bars(axes, latency, _ACCENT)
        for height, (name, value) in zip((1.0, 0.87, 0.74), marks, strict=True):
            axes.axvline(value, color=_INK, linewidth=1, linestyle=(0, (2, 2)), ymax=height)
            _write_beside(axes, value, height, f"{name} {seconds(value)}")
        axes.xaxis.set_major_formatter(lambda value, _: seconds(value))

    told = ", ".join(f"{name} {seconds(value)}" for name, value in marks)
    caption = f"{told}; the slowest took {seconds(latency.largest)}. Logarithmic scale."
    return Plot("Latency", caption, _draw("Latency of answered rows", caption, draw))


def plot_tokens(tokens: Mapping[str, LogHistogram]) -> Plot | None:
    """Rows by tokens, a histogram for each kind that has any."""
    shown = {name: histogram for name, histogram in tokens.items() if histogram.largest > 0}
    if not shown:
        return None

    def draw(axes: "Axes") -> None:
        for (name, histogram), colour in zip(shown.items(), (_ACCENT, _SECOND), strict=False):
            _draw_bars(axes, histogram, colour)
            axes.plot([], [], color=colour, linewidth=6, alpha=0.6, label=name)
        axes.xaxis.set_major_formatter(lambda value, _: compact(value))
        if len(shown) > 1:
            axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0, handlelength=1)

    told = [
        f"{name} {count(histogram.mean)} a row on average, {count(histogram.largest)} at most"
        for name, histogram in shown.items()
    ]
    caption = f"Tokens {'; tokens '.join(told)}. Logarithmic scale."
    return Plot("Tokens a row", caption, _draw("Rows by tokens", caption, draw))


def plot_cost(series: Series | None, earlier_usd: float, levels: Mapping[str, float]) -> Plot | None:
    """Money spent over time, on top of what earlier runs spent, against the budget and the estimate."""
    if series is None or series.seconds[-1] < _SHORTEST_SECONDS or not series.cost_usd.sum():
        return None
    spent = np.concatenate([[0.0], np.cumsum(series.cost_usd)]) + earlier_usd

    def draw(axes: "Axes") -> None:
        times, label = _times(series.seconds)
        starts = np.concatenate([[0.0], times])
        axes.fill_between(starts, spent, color=_ACCENT, alpha=0.18, linewidth=0)
        axes.plot(starts, spent, color=_ACCENT)
        for name, level in levels.items():
            _mark_level(axes, level, float(spent[-1]), f"{name} {usd(level)}", float(times[-1]))
        axes.set_xlabel(label)
        axes.yaxis.set_major_formatter(lambda value, _: usd(round(value, 12)))

    before = f", {usd(earlier_usd)} of it by earlier runs" if earlier_usd else ""
    caption = f"{usd(float(spent[-1]))} in all{before}."
    return Plot("Cost", caption, _draw("Money spent over time", caption, draw))


def plot_failures(kinds: Sequence[tuple[str, int]]) -> Plot | None:
    """Failed rows by kind, the most frequent on top; None when none failed."""
    if not kinds:
        return None
    names, counts = [name for name, _ in kinds], [number for _, number in kinds]

    def draw(axes: "Axes") -> None:
        places = np.arange(len(names))
        axes.barh(places, counts, color=_BAD, alpha=0.75, height=0.62)
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", colors=_INK)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks([])
        axes.set_xlim(0, max(counts) * 1.15)
        for place, number in zip(places, counts, strict=True):
            axes.annotate(count(number), (number, place), (4, 0), textcoords="offset points", va="center")

    caption = ", ".join(f"{name}: {count(number)}" for name, number in kinds) + "."
    height = 0.35 + 0.27 * len(names)
    return Plot("Failures by kind", caption, _draw("Failures by kind", caption, draw, height))


def _draw_bars(axes: "Axes", histogram: LogHistogram, colour: str) -> None:
    edges, counts = histogram.bars(_BARS)
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.6)
    axes.set_xscale("log")
    axes.set_ylabel("rows")


def _mark_level(axes: "Axes", level: float | None, peak: float, label: str, right: float) -> None:
    """Draw a dashed line at a level, unless it is far above everything else."""
    if level is None or level > peak * _SHOWN_LIMIT_RATIO:
        return
    axes.axhline(level, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(label, (right, level), (0, 3), textcoords="offset points", ha="right", va="bottom")


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


def _times(ends: Floats) -> tuple[Floats, str]:
    """Times since the start in the unit that suits them, and its name."""
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if ends[-1] >= 2 * size:
            return ends / size, name
    return ends, "seconds"


def _draw(label: str, caption: str, draw: "Callable[[Axes], None]", height: float = _SIZE_INCHES[1]) -> Markup:
    """The SVG of what `draw` draws, ready for the page."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with rc_context(cast(Any, _STYLE)):
        figure = Figure(figsize=(_SIZE_INCHES[0], height), layout="constrained")
        axes = figure.subplots()
        axes.grid(axis="y")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(lambda value, _: compact(value))
        draw(axes)
        sink = io.StringIO()
        FigureCanvasSVG(figure).print_svg(sink, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _adapt(sink.getvalue(), f"{label}. {caption}")


def _adapt(svg: str, alt: str) -> Markup:
    """An SVG without a size, fonts, colours and ids of its own: it takes them from its page."""
    prefix = re.sub(r"\W+", "-", alt.lower())[:24]
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", rf'<svg \1 role="img" aria-label="{escape(alt)}">', svg, count=1
    )
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r" id=\"(?![pm][0-9a-f]{10}\")[^\"]*\"", "", svg)
    svg = (
        svg.replace(' id="', f' id="{prefix}-')
        .replace("url(#", f"url(#{prefix}-")
        .replace('xlink:href="#', f'href="#{prefix}-')
    )
    for colour, name in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg)  # noqa: S704 - drawn here; labels are escaped by matplotlib
