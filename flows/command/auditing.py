"""The command that shows an output's audit: the bounds of the provider's bill."""

from decimal import Decimal
from typing import Any

from rich.markup import escape
from rich.table import Table

from flows.command import console
from flows.command.arguments import load
from flows.command.costs_report import admin_key, beside_costs_report
from promptmill.audit.bounds import Audit, audit_of
from promptmill.audit.records import Found, read_books
from promptmill.audit.table import HEADER, audit_lines, audit_values, batch_lines
from promptmill.checkpoints.store import Store
from promptmill.errors import JobError, OutputError
from promptmill.job.spec import Job
from promptmill.limits.pricing import PriceList, prices_for, requested_tier
from promptmill.output.manifest import MANIFEST, Manifest, read_manifest
from promptmill.planning.opened_job import CHECKPOINTS, open_job, open_output, today
from promptmill.storage import Storage

_JOB_FILES = (".yaml", ".yml", ".json")


def audit_output(place: str, overrides: list[str] | None, *, as_json: bool) -> None:
    """Show the audit of an output, given its URL or its job file. Raises: JobError, OutputError, StorageFailed."""
    if place.lower().endswith(_JOB_FILES):
        opened = open_job(load(place, overrides), today())
        output, job = opened.output, opened.job
    else:
        output, job = open_output(place), None
    audit, found, job = _audit(output, job)
    values = audit_values(audit, {} if job is None else job.tags)
    sentences: list[str] = []
    if job is not None and (key := admin_key()):
        values["provider_costs"], sentences = beside_costs_report(audit, found, job.request.model, key)
    _show(values, sentences, as_json=as_json)
    if as_json:
        console.print_json(values)


def _audit(output: Storage, job: Job | None) -> tuple[Audit, Found, Job | None]:
    """The audit, the records that it adds up, and the job if it is known."""
    manifest, store = read_manifest(output), Store(output.folder(CHECKPOINTS))
    if manifest is None and not store.listing().sizes:
        raise OutputError(
            f"{output.shown} has neither {MANIFEST} nor kept answers, so nothing was paid for there. Give the URL of an "
            "output, or a job file (.yaml)."
        )
    if job is None and manifest is not None:
        job = _job_of(manifest)
    published_usd = Decimal(0) if manifest is None else manifest.cost_usd
    books = read_books(store)
    if job is None:
        return audit_of(books, published_usd=published_usd), books.found, None
    tier = requested_tier(job.request.sent_parameters)
    return audit_of(books, _prices_of(job), tier, published_usd), books.found, job


def _job_of(manifest: Manifest) -> Job | None:
    """The job in a manifest; None if an earlier version wrote it in another form."""
    try:
        return Job.model_validate(manifest.job)
    except ValueError:
        return None


def _prices_of(job: Job) -> PriceList | None:
    try:
        return prices_for(job.request.model, job.pricing)
    except JobError:
        return None


def _show(values: dict[str, Any], costs: list[str], *, as_json: bool) -> None:
    out = console.stderr() if as_json else console.stdout()
    table = Table(*HEADER)
    for column in table.columns[1:]:
        column.justify = "right"
    for line in audit_lines(values):
        table.add_row(*map(escape, line))
    out.print(table)
    if values["tags"]:
        out.print(escape(f"Tags: {', '.join(f'{name}={value}' for name, value in values['tags'].items())}."))
    out.print(f"The provider's bill lies between ${values['known_usd']} and ${values['at_most_usd']}.")
    for sentence in (*batch_lines(values), *costs):
        out.print(escape(sentence))
    if values["unreadable_files"]:
        out.print(f"{values['unreadable_files']:,} answer files are damaged, so their cost is unknown.")
