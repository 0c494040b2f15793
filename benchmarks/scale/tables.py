"""The figures as the tables of docs/scale.md, between the marks that the page has for each."""

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scale import measured as m
from benchmarks.scale.batches import Waves
from benchmarks.scale.breaks import Resource
from benchmarks.scale.leases import Shared
from benchmarks.scale.online import Online
from benchmarks.scale.scenarios import Column

PAGE = Path(__file__).parents[2] / "docs/scale.md"
_MEGABYTES = 1e6


def table_of(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put_table(text: str, name: str, table: str) -> str:
    """A page with another table between the marks of that name."""
    marks = re.compile(rf"(<!-- {name} -->\n)(?:[^<]*\n)?(<!-- end -->)")
    assert marks.search(text), f"docs/scale.md has no marks for the table {name!r}"
    return marks.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text)


def online_table(columns: Sequence[Column]) -> str:
    """How long, how much, how many."""
    figures = [column.figures for column in columns]
    rows = [
        ["planning, before the first request", *(_time(each.plan_seconds) for each in figures)],
        ["answering", *(_time(each.answer_seconds) for each in figures)],
        ["publishing", *(_time(each.publish_seconds) for each in figures)],
        ["task runs", *(f"{each.chunks:,}" for each in figures)],
        ["objects in `_checkpoints/` at the end", *(f"{each.objects:,}" for each in figures)],
        ["PUT and LIST requests", *(_millions(each.puts) for each in figures)],
        ["GET and HEAD requests", *(_millions(each.gets) for each in figures)],
        ["these requests in US dollars", *(f"{each.usd:.0f}" for each in figures)],
        ["calls to Prefect's server a second", *(f"{each.server_calls_a_second:.0f}" for each in figures)],
        ["Prefect's database", *(f"{each.database_bytes / 1e9:.1f} GB" for each in figures)],
    ]
    heads = [f"{column.account}, `chunk_rows: {column.chunk_rows}`" for column in columns]
    return table_of(["", *heads], rows)


def lease_table(found: dict[tuple[int, str], Shared]) -> str:
    """The shared limit, by workers and by server."""
    calls = {"measured": m.SERVER_LEASES_A_SECOND, "large": m.LARGE_SERVER_LEASES_A_SECOND}
    rows = [
        [
            f"{workers}",
            f"{calls[server]:.0f}",
            f"{shared.server_calls_a_second:.0f}",
            f"{shared.call_seconds:.2f} s",
            f"{shared.used_percent:.0f} %",
            f"{shared.most_in_a_minute_percent:.0f} %",
        ]
        for (workers, server), shared in found.items()
    ]
    heads = ["workers", "calls a second that the server answers", "calls a second", "a call takes"]
    return table_of([*heads, "of the limit used", "in the busiest minute"], rows)


def batch_table(found: dict[tuple[str, int], Waves]) -> str:
    """By batch, by enqueued limit and by how long a batch takes."""
    rows = [
        [
            tokens,
            f"{hours} h",
            _time(waves.seconds),
            f"{waves.batches:,}",
            f"{waves.most_live:,}",
            f"{waves.steps:,}",
            _millions(waves.objects_read),
            f"{waves.objects_read * m.GET_USD:.0f}",
        ]
        for (tokens, hours), waves in found.items()
    ]
    heads = ["enqueued tokens", "a batch takes", "the whole", "batches", "at once", "steps"]
    return table_of([*heads, "objects of the ledger read", "in US dollars"], rows)


def break_table(run: Online, found: Sequence[Resource]) -> str:
    """What breaks, the first on top."""
    rows = [
        [
            resource.name,
            f"{resource.needs:.3g} {resource.unit}",
            f"{resource.bears:.3g}" if resource.bears < 1_000 else f"{resource.bears:,.0f}",
            f"{_rounded(resource.breaks_at(run))} {resource.grows_by}",
            resource.effect,
            resource.remedy,
        ]
        for resource in found
    ]
    return table_of(["what", "needs", "bears", "breaks at", "then", "what helps"], rows)


def _rounded(value: float) -> str:
    """Two digits: more would claim to know."""
    shown = float(f"{value:.2g}")
    return f"{shown / _MEGABYTES:g} M" if shown >= _MEGABYTES else f"{shown:,.0f}"


def _millions(count: float) -> str:
    return f"{count / _MEGABYTES:.2g} M" if count < 10 * _MEGABYTES else f"{count / _MEGABYTES:.0f} M"


def _time(seconds: float) -> str:
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h" if seconds < 48 * 3_600 else f"{seconds / 86_400:.1f} days"
