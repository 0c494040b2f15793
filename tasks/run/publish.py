"""The end of a run: its output is written, its summary shown, its event emitted."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect.artifacts import acreate_markdown_artifact
from prefect.assets import Asset, add_asset_metadata, materialize
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.tasks import Task, TaskOptions
from pydantic import ValidationError

from promptmill.audit.table import HEADER, audit_lines
from promptmill.number_words import count, usd
from promptmill.output.manifest import MANIFEST, REPORT, Manifest
from promptmill.output.summary import accuracies, figures
from promptmill.planning.estimate import describe_estimate
from promptmill.planning.opened_job import Opened
from promptmill.public_url import public_url
from promptmill.runs.engine import Engine
from promptmill.runs.run import FinishedRun, PendingRun, Run, publish_run
from promptmill.web_address import web_address
from tasks.prefect_internals.result_links import unsearched
from tasks.run.markdown import escape_markdown
from tasks.server.outages import CALL_ERRORS

_STOPPED_SECONDS = 5.0  # at most, for the summary of a run that was stopped: somebody waits for its end
_MOST_INPUTS = 20  # assets that an output names; an event carries a hundred at most (prefect 3.8.8)
_EVENTS = frozenset({"completed", "budget_exhausted", "cancelled"})  # a run in any other state has failed


async def publish_output(run: PendingRun, engine: Engine) -> FinishedRun:
    """Write parts, failures, report and manifest, and record the output as an asset if its URL can be an asset's key.

    The asset depends on those of the input, so that the lineage of a chain of jobs is whole.

    Raises: StorageFailed, InputChanged; all answers are kept.
    """
    options = TaskOptions(
        name="publish-output",
        task_run_name="publish",
        cache_policy=NO_CACHE,
        persist_result=False,
        asset_deps=input_assets(run.prepared.job.input.urls),
    )
    try:
        asset = Asset(key=_asset_key(run.prepared.output.shown))
    except ValidationError:
        return await Task(publish_run, **options)(unsearched(run), unsearched(engine))

    async def publish(run: PendingRun, engine: Engine) -> FinishedRun:
        finished = await publish_run(run, engine)
        add_asset_metadata(asset, describe_output(finished.manifest, run.prepared.output.shown))
        return finished

    return await materialize(asset, by="promptmill", **options)(publish)(unsearched(run), unsearched(engine))


def _asset_key(url: str) -> str:
    """The URL that names an input or an output as an asset; of a folder, without a slash at its end."""
    return (url if "://" in url else Path(url).absolute().as_uri()).rstrip("/")


def input_assets(urls: Sequence[str]) -> list[Asset | str]:
    """The assets that a run reads, as the run that wrote them names them; without URLs that can't be an asset's key."""
    found: list[Asset | str] = []
    for url in urls[:_MOST_INPUTS]:
        with suppress(ValidationError):
            found.append(Asset(key=_asset_key(public_url(url))))
    return found


def describe_output(manifest: Manifest, url: str) -> dict[str, Any]:
    """What events and assets say of an output; paths are whole, for flows that run in another folder."""
    place = url if "://" in url else str(Path(url).absolute())
    return {
        "rows": manifest.rows,
        "succeeded": manifest.succeeded,
        "failed": manifest.failed,
        "cost_usd": str(manifest.cost_usd),
        "manifest_url": f"{place}/{MANIFEST}",
    }


async def announce_end(run: Run) -> dict[str, Any]:
    """Tell how a finished run ended; returns its summary."""
    assert isinstance(run, FinishedRun)  # noqa: S101 - a flow that comes here has published
    await announce(run.prepared, run.manifest)
    return run.summary()


async def announce(prepared: Opened, manifest: Manifest) -> None:
    """Show a run's summary in the Prefect UI, and emit the event that says how it ended."""
    url = prepared.output.shown
    with suppress(*CALL_ERRORS):
        async with asyncio.timeout(None if manifest.state == "completed" else _STOPPED_SECONDS):
            await acreate_markdown_artifact(
                summary_text(manifest, url, os.environ),
                key=f"{prepared.job.name}-summary",
                description=describe_end(manifest),
            )
    emit_event(
        f"promptmill.job.{manifest.state if manifest.state in _EVENTS else 'failed'}",
        resource={"prefect.resource.id": f"promptmill.job.{prepared.job.name}"},
        payload=describe_output(manifest, url),
    )


async def announce_estimate(run: PendingRun) -> dict[str, Any]:
    """Show an estimate in the Prefect UI; returns it as JSON values."""
    estimate = run.preflight.estimate
    notes = "".join(f"\n- {escape_markdown(warning)}" for warning in run.preflight.warnings)
    title, told = escape_markdown(run.prepared.job.name), escape_markdown(describe_estimate(estimate))
    text = f"# {title}: estimate\n\n{estimate.rows:,} rows, {told}\n{notes}\n"
    await acreate_markdown_artifact(text, key=f"{run.prepared.job.name}-estimate")
    return {**asdict(estimate), "online_usd": str(estimate.online_usd), "batch_usd": str(estimate.batch_usd)}


def describe_end(manifest: Manifest) -> str:
    """How a run ended, in a line."""
    parts = [
        f"{manifest.state}: {count(manifest.succeeded)} of {count(manifest.rows)} rows succeeded",
        f"{count(manifest.failed)} failed",
        usd(manifest.cost_usd),
        *(f"{figure.name} {figure.value}" for figure in accuracies(manifest)),
    ]
    return ", ".join(parts)


def _places(manifest: Manifest, url: str, environ: Mapping[str, str]) -> str:
    """Where the output is and where its report, which only a finished run has; as a link where a browser can open it."""
    output = f"Output: {escape_markdown(url)}"
    if manifest.state != "completed":
        return output
    report = f"{url.rstrip('/')}/{REPORT}"
    address = web_address(report if "://" in report else str(Path(report).absolute()), environ)
    if address is None:
        return f"{output} · report: {escape_markdown(report)}"
    return f"[**Open the report**](<{address}>) · {output}"


def _audit_table(manifest: Manifest) -> str:
    """What the output cost, in Markdown; empty where there is no audit."""
    if manifest.audit is None:
        return ""
    lines = (f"| {' | '.join(map(escape_markdown, line))} |" for line in (HEADER, *audit_lines(manifest.audit)))
    header, *rows = lines
    return "\n".join(["", header, "|---|---:|---:|---:|---:|", *rows, ""])


def summary_text(manifest: Manifest, url: str, environ: Mapping[str, str]) -> str:
    """A run's summary in Markdown; `environ` may say where outputs are served (promptmill/web_address.py)."""
    shown = "\n".join(
        f"| {escape_markdown(figure.name)} | {escape_markdown(figure.value)} | {escape_markdown(figure.detail)} |"
        for figure in figures(manifest)
    )
    kinds = "\n".join(
        f"| {escape_markdown(kind)} | {count(rows)} |" for kind, rows in manifest.failures_by_kind.items()
    )
    failures = f"\n| failures | rows |\n|---|---:|\n{kinds}\n" if kinds else ""
    return f"""# {escape_markdown(str(manifest.job["name"]))}: {manifest.state}

{_places(manifest, url, environ)}

| | | |
|---|---:|---|
{shown}
{failures}{_audit_table(manifest)}"""
