"""The report: what a run did, as one HTML page that needs nothing else and reads on a phone.

Autoescape is on, since rows and answers may hold anything. Plots are SVG in the page's own colours.
"""

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import jinja2

from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest
from promptmill.output.report.data import ReportData
from promptmill.output.report.plots import POINTS, Plot, plot_cost, plot_failures, plot_latency, plot_pace, plot_tokens
from promptmill.output.report.wording import clock, count, duration, job_yaml, percent, remedy, usd
from promptmill.public_url import public_url

__all__ = ["ReportData", "render_report"]

_MAX_PLOTTED_KINDS = 14


def render_report(
    job: Job,
    manifest: Manifest,
    data: ReportData,
    limits: tuple[float | None, float | None] = (None, None),
    unknown: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """The page; `limits` are the requests and tokens a minute that the run kept to, None if there was none.

    `unknown` counts this run's answers of a shape that nobody knows, by their shortened text.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update({"count": count, "percent": percent, "usd": usd})
    template = environment.from_string(files("promptmill.output.report").joinpath("page.html.j2").read_text())
    return template.render(
        job=job,
        manifest=manifest,
        data=data,
        cards=_cards(manifest),
        plots=_plots(manifest, data, limits),
        failures=[(kind, rows, remedy(kind), data.failures.get(kind, [])) for kind, rows in data.kinds.most_common()],
        unknown=sorted(unknown.items(), key=lambda pair: -pair[1]),
        finished=clock(manifest.finished_at),
        yaml=job_yaml(job),
        url=public_url(job.output.url),
    )


def _cards(manifest: Manifest) -> list[tuple[str, str, str]]:
    """The cards at the top: name, figure, and the line below it."""
    pace = manifest.requests_sent / manifest.seconds if manifest.seconds else 0.0
    estimate = "" if manifest.estimated_cost_usd is None else f"estimated {usd(manifest.estimated_cost_usd)}"
    budget = "" if manifest.budget_usd is None else f", budget {usd(manifest.budget_usd)}"
    reasoning = f"{count(manifest.reasoning_tokens)} of them reasoning" if manifest.reasoning_tokens else ""
    cached = f"{count(manifest.cached_input_tokens)} cached"
    return [
        ("rows", count(manifest.rows), f"{count(manifest.reused)} reused from earlier runs"),
        ("succeeded", count(manifest.succeeded), percent(manifest.succeeded / max(1, manifest.rows))),
        ("failed", count(manifest.failed), percent(manifest.failed / max(1, manifest.rows))),
        ("cost", usd(manifest.cost_usd), f"{estimate}{budget}"),
        ("tokens in", count(manifest.input_tokens), cached),
        ("tokens out", count(manifest.output_tokens), reasoning),
        ("requests", count(manifest.requests_sent), f"{count(manifest.attempts)} attempts"),
        ("time", duration(manifest.seconds), f"{count(pace)} requests/s"),
    ]


def _plots(manifest: Manifest, data: ReportData, limits: tuple[float | None, float | None]) -> list[Plot]:
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
        plot_failures(data.kinds.most_common(_MAX_PLOTTED_KINDS)),
    ]
    return [plot for plot in plots if plot is not None]
