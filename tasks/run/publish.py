"""The end of a run: its output is written, its summary shown, its event emitted."""

import asyncio
from contextlib import suppress
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from prefect.artifacts import acreate_markdown_artifact
from prefect.assets import Asset, add_asset_metadata, materialize
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.tasks import Task, TaskOptions
from pydantic import ValidationError

from promptmill.output.manifest import MANIFEST, REPORT, Manifest
from promptmill.planning.estimate import describe_estimate
from promptmill.planning.prepared_job import Prepared
from promptmill.runs.engine import Engine
from promptmill.runs.run import FinishedRun, PendingRun, Run, publish_run
from tasks.run.markdown import escape_markdown
from tasks.server.outages import CALL_ERRORS

_STOPPED_SECONDS = 5.0  # at most, for the summary of a run that was stopped: somebody waits for its end
_EVENTS = frozenset({"completed", "budget_exhausted", "cancelled"})  # a run in any other state has failed


async def publish_output(run: PendingRun, engine: Engine) -> FinishedRun:
    """Write parts, failures, report and manifest, and record the output as an asset if its URL can be an asset's key.

    Raises: StorageFailed, InputChanged; all answers are kept.
    """
    options = TaskOptions(name="publish-output", task_run_name="publish", cache_policy=NO_CACHE, persist_result=False)
    try:
        asset = Asset(key=_asset_key(run.prepared.output.shown))
    except ValidationError:
        return await Task(publish_run, **options)(run, engine)

    async def publish(run: PendingRun, engine: Engine) -> FinishedRun:
        finished = await publish_run(run, engine)
        add_asset_metadata(asset, describe_output(finished.manifest, run.prepared.output.shown))
        return finished

    return await materialize(asset, by="promptmill", **options)(publish)(run, engine)


def _asset_key(url: str) -> str:
    """The URL that names an output as an asset."""
    return url if "://" in url else Path(url).absolute().as_uri()


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


async def announce(prepared: Prepared, manifest: Manifest) -> None:
    """Show a run's summary in the Prefect UI, and emit the event that says how it ended."""
    url = prepared.output.shown
    with suppress(*CALL_ERRORS):
        async with asyncio.timeout(None if manifest.state == "completed" else _STOPPED_SECONDS):
            await acreate_markdown_artifact(
                _summarise(manifest, url), key=f"{prepared.job.name}-summary", description=_describe_end(manifest)
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


def _describe_end(manifest: Manifest) -> str:
    """How a run ended, in a line."""
    return (
        f"{manifest.state}: {manifest.succeeded:,} of {manifest.rows:,} rows succeeded, {manifest.failed:,} failed, "
        f"${manifest.cost_usd:,.4f}"
    )


def _summarise(manifest: Manifest, url: str) -> str:
    """A run's summary in Markdown."""
    kinds = "\n".join(f"| {escape_markdown(kind)} | {count:,} |" for kind, count in manifest.failures_by_kind.items())
    failures = f"\n| failures | rows |\n|---|---:|\n{kinds}\n" if kinds else ""
    estimate = Decimal(0) if manifest.estimated_cost_usd is None else manifest.estimated_cost_usd
    return f"""# {escape_markdown(str(manifest.job["name"]))}: {manifest.state}

| | |
|---|---:|
| rows | {manifest.rows:,} |
| succeeded | {manifest.succeeded:,} |
| failed | {manifest.failed:,} |
| reused from earlier runs | {manifest.reused:,} |
| requests sent | {manifest.requests_sent:,} |
| attempts | {manifest.attempts:,} |
| tokens in / cached / out | {manifest.input_tokens:,} / {manifest.cached_input_tokens:,} / {manifest.output_tokens:,} |
| cost | ${manifest.cost_usd:.6f} |
| estimated | ${estimate:.6f} |
| seconds | {manifest.seconds:,.1f} |
{failures}
Output: {escape_markdown(url)} · report: {escape_markdown(f"{url}/{REPORT}")}
"""
