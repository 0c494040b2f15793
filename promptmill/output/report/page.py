"""The report: what a run did, as one HTML page that needs nothing else and reads on a phone.

Autoescape is on, since rows and answers may hold anything. Plots are SVG in the page's own colours.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import jinja2

from promptmill.audit.table import HEADER, audit_lines
from promptmill.job.spec import Job
from promptmill.number_words import amount, clock, count, percent, usd
from promptmill.output.forecast import LEVEL
from promptmill.output.manifest import Manifest
from promptmill.output.report.data import ReportData
from promptmill.output.report.drawing import Plot
from promptmill.output.report.links import commands, input_links, output_links
from promptmill.output.report.plots import (
    POINTS,
    plot_cost,
    plot_failures,
    plot_latency,
    plot_pace,
    plot_retries,
    plot_tokens,
)
from promptmill.output.report.wording import job_yaml, remedy
from promptmill.output.summary import figures
from promptmill.public_url import public_url

__all__ = ["ReportData", "render_report"]

_MAX_PLOTTED_KINDS = 14
_MOST_MISTAKES = 6  # shown beside a matrix


def render_report(
    job: Job,
    manifest: Manifest,
    data: ReportData,
    limits: tuple[float | None, float | None] = (None, None),
    unknown: Mapping[str, int] = MappingProxyType({}),
    retries: Mapping[tuple[str, int], int] = MappingProxyType({}),
) -> str:
    """The page; `limits` are the requests and tokens a minute that the run kept to, None if there was none.

    `unknown` counts this run's answers of a shape that nobody knows, by their shortened text; `retries` the attempts that
    another followed, by kind of failure and time in seconds since the epoch.
    """
    return _template().render(
        job=job,
        manifest=manifest,
        data=data,
        cards=figures(manifest),
        plots=_plots(manifest, data, limits, retries),
        inputs=input_links(job),
        outputs=output_links(manifest),
        commands=commands(manifest, public_url(job.output.url)),
        most_mistakes=_MOST_MISTAKES,
        failures=[(kind, rows, remedy(kind), data.failures.get(kind, [])) for kind, rows in data.kinds.most_common()],
        audit=[] if manifest.audit is None else audit_lines(manifest.audit),
        audit_header=HEADER,
        unknown=sorted(unknown.items(), key=lambda pair: -pair[1]),
        finished=clock(manifest.finished_at),
        yaml=job_yaml(job),
        url=public_url(job.output.url),
        level=LEVEL,
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update({"amount": amount, "count": count, "percent": percent, "usd": usd})
    return environment.from_string(files("promptmill.output.report").joinpath("page.html.j2").read_text())


def _plots(
    manifest: Manifest,
    data: ReportData,
    limits: tuple[float | None, float | None],
    retries: Mapping[tuple[str, int], int],
) -> list[Plot]:
    series = data.timeline.series(POINTS)
    levels: dict[str, Any] = {"estimate": manifest.estimated_cost_usd, "budget": manifest.budget_usd}
    known = {name: float(amount) for name, amount in levels.items() if amount is not None}
    empty = series is None
    plots = [
        None if empty else plot_pace("Requests a minute", "requests", series.attempts, series, limits[0]),
        None if empty else plot_pace("Tokens a minute", "tokens", series.tokens, series, limits[1]),
        plot_latency(data.latency),
        plot_tokens({"in": data.input_tokens, "out": data.output_tokens}),
        plot_cost(series, float(data.earlier_cost_usd), known),
        plot_retries(retries),
        plot_failures(data.kinds.most_common(_MAX_PLOTTED_KINDS)),
    ]
    return [plot for plot in plots if plot is not None]
