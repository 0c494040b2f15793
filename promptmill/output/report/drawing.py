"""How the report's plots are drawn: small SVGs that take their fonts and colours from the page, as its dark mode has them.

matplotlib draws them with stand-in colours, which we then replace by the page's CSS variables; texts stay texts. That
makes them a tenth of the size of a PNG that is sharp on a phone. Nothing from the dataset gets into them.
We import matplotlib when we draw a plot: the import takes most of a second.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, cast

from markupsafe import Markup, escape

from promptmill.number_words import compact
from promptmill.output.report.histograms import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_INCH_POINTS = 72
_SIZE_INCHES = (4.6, 2.5)
_FONT_POINTS = 10.5  # of a plot 331 points wide: on a phone a point is about a pixel
_LETTER_POINTS = 0.62 * _FONT_POINTS  # a digit of most fonts without serifs
_LINE_POINTS = 1.45 * _FONT_POINTS
INK, _MUTED, _GRID, ACCENT, SECOND, BAD = (f"#0000{number:02x}" for number in range(1, 7))
_VARIABLES = {INK: "ink", _MUTED: "muted", _GRID: "line", ACCENT: "accent", SECOND: "second", BAD: "bad"}
_TICK_SHARE = 1 / 6  # of an axis, between two labels
_ENOUGH_TICKS = 3
_SHOWN_LIMIT_RATIO = 2.5  # a limit this many times the peak would flatten the curve: only the caption tells it
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "promptmill",
    "font.size": _FONT_POINTS,
    "figure.facecolor": "none",  # else a white card stands in a dark page
    "axes.facecolor": "none",
    "text.color": INK,
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


def draw_svg(label: str, caption: str, draw: "Callable[[Axes], None]", height: float = _SIZE_INCHES[1]) -> Markup:
    """The SVG of what `draw` draws, ready for the page."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with rc_context(cast(Any, _STYLE)):
        figure = Figure(figsize=(_SIZE_INCHES[0], height))
        axes = figure.subplots()
        axes.grid(axis="y")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(lambda value, _: compact(value))
        draw(axes)
        left, right, below, above = (points / _INCH_POINTS for points in _room(axes))
        wide = _SIZE_INCHES[0]
        figure.subplots_adjust(left / wide, below / height, 1 - right / wide, 1 - above / height)
        sink = io.StringIO()
        FigureCanvasSVG(figure).print_svg(sink, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _adapt(sink.getvalue(), f"{label}. {caption}")


def _room(axes: "Axes") -> tuple[float, float, float, float]:
    """Points left of the axes, right of them, below and above, for what is written there.

    We go by the number of characters: matplotlib would draw each text to measure it, which takes as long as all the rest,
    and would measure a font of its own and not the page's.
    """
    rows = _longest(axes.yaxis) + 6 + (_LINE_POINTS if axes.get_ylabel() else 0)
    columns = _longest(axes.xaxis)
    below = (_LINE_POINTS if columns else 0) + (_LINE_POINTS if axes.get_xlabel() else 0) + 3
    legend = axes.get_legend()
    named = 0 if legend is None else ceil(len(legend.get_texts()) / 2)  # two beside each other
    return rows, max(columns / 2, 6), below, max(named * _LINE_POINTS * 1.2, _LINE_POINTS * 0.8)


def _longest(axis: "Axis") -> float:
    """The points that the longest label of an axis takes."""
    labels = axis.get_major_formatter().format_ticks([float(place) for place in axis.get_ticklocs()])
    return max(map(len, labels), default=0) * _LETTER_POINTS


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


def mark_level(axes: "Axes", level: float | None, peak: float, label: str, right: float) -> None:
    """Draw a dashed line at a level, unless it is far above everything else."""
    if level is None or level > peak * _SHOWN_LIMIT_RATIO:
        return
    axes.axhline(level, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(label, (right, level), (0, 3), textcoords="offset points", ha="right", va="bottom")


def use_log_axis(axes: "Axes", word: Callable[[float], str]) -> None:
    """Give a logarithmic x axis a few labels that stand apart; `word` writes a value."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    ticks = log_ticks(*axes.get_xlim())
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([word(tick) for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> list[float]:
    """Round values between two bounds, at least a sixth of a logarithmic axis apart."""
    found = list[float]()
    for ticks in _candidates(low, high):
        for tick in ticks:
            if low <= tick <= high and all(
                abs(log10(tick / other)) >= log10(high / low) * _TICK_SHARE for other in found
            ):
                found.append(tick)
        if len(found) >= _ENOUGH_TICKS:
            break
    return sorted(found)


def _candidates(low: float, high: float) -> Iterator[list[float]]:
    """Values that may be labels, the roundest first; where the bounds are near each other, in even steps."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    for digits in ((1,), (3,), (2, 5), (1.5, 4, 7)):
        yield sorted(digit * 10.0**decade for digit in digits for decade in decades)
    step = 10.0 ** floor(log10((high - low) / 3))
    yield [number * step for number in range(ceil(low / step), floor(high / step) + 1)]


def time_axis(ends: Floats) -> tuple[Floats, str]:
    """Times since the start in the unit that suits them, and its name."""
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if ends[-1] >= 2 * size:
            return ends / size, name
    return ends, "seconds"
