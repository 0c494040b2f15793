"""What check, estimate and sample show a person."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from flows.command import console
from promptmill.limits.pricing import requested_tier
from promptmill.output.manifest import Manifest
from promptmill.output.reading import read_rows
from promptmill.planning.estimate import Estimate
from promptmill.planning.prepared_job import SAMPLES
from promptmill.printable import printable
from promptmill.provider.first_contact import Contact
from promptmill.runs.display import format_seconds
from promptmill.runs.run import PendingRun
from promptmill.runs.sample import Extrapolation
from promptmill.shorten import shorten

LONGEST_CELL = 160


def show_check(run: PendingRun, contact: Contact) -> None:
    """What is known of a job, of its provider, and its first request."""
    out, plan, prepared = console.stdout(), run.preflight.plan, run.prepared
    files, columns = len(prepared.dataset.files), ", ".join(prepared.dataset.schema.names)
    out.print(f"[bold green]ok[/] {plan.rows:,} rows in {files:,} file(s); columns: {escape(printable(columns))}")
    for note in prepared.dataset.notes:
        out.print(f"   {escape(printable(note))}")
    out.print(
        f"   output {escape(printable(prepared.output.shown))} can be written, read and cleared; credentials are there"
    )
    out.print(f"   provider {escape(printable(contact.found))}")
    if plan.first_request is not None:
        request = plan.first_request
        body = orjson.dumps(prepared.builder.preview(request), option=orjson.OPT_INDENT_2).decode()
        limit = request.max_output_tokens
        price = prepared.prices.request_usd(
            request.input_tokens, limit or 0, requested_tier(prepared.job.request.parameters)
        )
        out.print(Panel(escape(body), title="the first request", title_align="left"))
        most = f"and at most {limit:,} out, so at most ${price:.8f}" if limit else f"in: ${price:.8f}, and its answer"
        labels = escape(prepared.counter.label), escape(prepared.prices.label)
        out.print(f"   {request.input_tokens:,} tokens in ({labels[0]}) {most} ({labels[1]})")
    problem = [] if contact.problem is None else [f"a run would end at once: {contact.problem}"]
    show_estimate(run.preflight.estimate, (*run.preflight.warnings, *problem), None, as_json=False)


def show_estimate(estimate: Estimate, warnings: Sequence[str], cheapest: str | None, as_json: bool) -> None:
    """What a run would take."""
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
    grid.add_row("prices", escape(estimate.prices))
    if cheapest is not None:
        grid.add_row("cheapest in time", escape(cheapest))
    out.print(grid)
    for warning in warnings:
        out.print(f"[yellow]note:[/] {escape(warning)}", soft_wrap=True)


def show_sample(part: PendingRun, manifest: Manifest, whole: Extrapolation, as_json: bool) -> None:
    """The rows of a sample with their answers, and what they say of the whole."""
    out = console.stderr() if as_json else console.stdout()
    out.print(_answers_table(part, manifest))
    out.print(
        f"{manifest.succeeded:,} of {manifest.rows:,} rows answered, ${manifest.cost_usd}, "
        f"{manifest.requests_sent:,} requests sent, {manifest.reused:,} rows reused"
    )
    minutes = "" if whole.minutes is None else f", about {format_seconds(whole.minutes * 60)}"
    out.print(
        f"[bold]all {whole.rows:,} rows:[/] about ${whole.usd:,.4f} online (${whole.batch_usd:,.4f} by batch), "
        f"{whole.output_tokens:,} tokens out, {whole.failed:,} failures{minutes}"
    )


def _answers_table(part: PendingRun, manifest: Manifest) -> Table:
    url = f"{part.prepared.output.url}/{SAMPLES}"
    table = Table(show_lines=True)
    for name in ("prompt", "answer", "tokens in", "out", "USD"):
        table.add_column(name, overflow="fold", justify="left" if name in ("prompt", "answer") else "right")
    names = part.prepared.names
    meta = names.meta_prefix
    columns = sorted(part.prepared.builder.columns & set(part.prepared.dataset.carried))
    if manifest.succeeded:
        for row in read_rows(url):
            answer = row[names.answer]
            table.add_row(
                _inputs(row, columns),
                _clip(answer if isinstance(answer, str) else f"{len(answer)} dimensions"),
                f"{row[f'{meta}input_tokens']:,}",
                f"{row[f'{meta}output_tokens']:,}",
                f"{row[f'{meta}cost_usd']:.8f}",
            )
    if manifest.failed:
        for row in read_rows(url, failures=True):
            table.add_row(
                _inputs(row, columns), f"[red]{row[f'{meta}error_kind']}[/] {_clip(str(row[f'{meta}error_message']))}"
            )
    return table


def _inputs(row: Mapping[Any, Any], columns: Sequence[str]) -> str:
    return _clip("\n".join(f"{name}: {row[name]}" for name in columns))


def _clip(text: str) -> str:
    return escape(printable(shorten(text, LONGEST_CELL)))
