"""Prints the results of estimate and sample for a person."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.command import console
from flows.command.sample_table import sample_table
from promptmill.number_words import count, usd
from promptmill.output.manifest import Manifest
from promptmill.output.summary import figures
from promptmill.planning.estimate import Estimate, age_of, describe_forecast
from promptmill.runs.display import format_seconds
from promptmill.runs.run import PendingRun
from promptmill.runs.sample import Extrapolation


def show_estimate(estimate: Estimate, warnings: Sequence[str], cheapest: str | None, as_json: bool) -> None:
    """The cost and time of a run."""
    out = console.stderr() if as_json else console.stdout()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", justify="right")
    grid.add_column()
    grid.add_row("rows", f"{estimate.rows:,}")
    grid.add_row("tokens in", f"{estimate.input_tokens:,} ({escape(estimate.counting)})")
    grid.add_row("tokens out", f"{estimate.output_tokens:,} ({escape(estimate.output_tokens_source)})")
    grid.add_row("online", f"${estimate.online_usd:,.6f}")
    grid.add_row("by batch", f"${estimate.batch_usd:,.6f}, within 24 hours")
    if estimate.minutes is not None:
        grid.add_row("time", f"{format_seconds(estimate.minutes * 60)} at the job's limits")
    if estimate.forecast is not None:
        grid.add_row("likely", describe_forecast(estimate.forecast))
        grid.add_row("by", f"a sample of {estimate.forecast.sample_rows:,} rows, {age_of(estimate.forecast)} ago")
    grid.add_row("prices", escape(estimate.prices))
    if cheapest is not None:
        grid.add_row("cheapest in time", escape(cheapest))
    out.print(grid)
    for warning in warnings:
        console.write(out, Text.assemble(("note:", "yellow"), " ", warning))


def show_sample(part: PendingRun, manifest: Manifest, whole: Extrapolation, as_json: bool) -> None:
    """The rows of a sample with their answers, and what they predict for the whole."""
    out = console.stderr() if as_json else console.stdout()
    out.print(sample_table(part, manifest))
    told = (
        f"{count(manifest.succeeded)} of {count(manifest.rows)} rows answered, {usd(manifest.cost_usd)}, "
        f"{count(manifest.requests_sent)} requests sent, {count(manifest.reused)} rows reused, "
        f"{count(manifest.shared)} shared"
    )
    console.write(out, Text(told))
    for figure in figures(manifest):
        if figure.name.startswith("accuracy"):
            console.write(out, Text.assemble((f"{figure.name}:", "bold"), " ", figure.line))
    minutes = "" if whole.minutes is None else f", about {format_seconds(whole.minutes * 60)}"
    costs = (
        f"about {usd(whole.usd)} online ({usd(whole.batch_usd)} by batch), "
        f"{count(whole.output_tokens)} tokens out, {count(whole.failed)} failures{minutes}"
    )
    console.write(out, Text.assemble((f"all {count(whole.rows)} rows:", "bold"), " ", costs))
    if whole.forecast is not None:
        console.write(out, Text(f"   {describe_forecast(whole.forecast)}"))
