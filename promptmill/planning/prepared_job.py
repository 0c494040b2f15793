"""A job made ready for a run: dataset, templates, schema, prices and storage, opened once. A wrong job is refused here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import orjson

from promptmill.checkpoints.store import Store
from promptmill.dataset.dataset import Dataset, open_dataset
from promptmill.errors import JobError, OutputError
from promptmill.job.identity import identifying_request, job_digest, request_digest
from promptmill.job.input_spec import identifying_input
from promptmill.job.spec import Job
from promptmill.limits.approved_cap import Approved
from promptmill.limits.pricing import PriceList, prices_for
from promptmill.output.columns import ColumnNames, clashing_columns, column_names
from promptmill.output.parts import unwritable_columns
from promptmill.places import shown_place
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.response_schema import ResponseSchema, load_schema
from promptmill.prompts.templates import render_once
from promptmill.prompts.tokens import TokenCounter, counter_for
from promptmill.public_url import public_text
from promptmill.storage import Storage

CHECKPOINTS = "_checkpoints"
SAMPLES = "_samples"
_NAMES = {"response_column": None, "answer_prefix": "", "meta_prefix": "llm_", "row_index_column": "row_index"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job, and everything that a run needs to carry it out."""

    job: Job  # its input.url and output.url are rendered
    digest: str  # of the job, 8 hex
    dataset: Dataset
    schema: ResponseSchema | None
    builder: RequestBuilder
    counter: TokenCounter
    prices: PriceList
    output: Storage
    store: Store
    approved: Approved | None = None  # what a person approved last for this output

    @property
    def binding_approval(self) -> Approved | None:
        """The approval, if its cap is below the job's own budget; None otherwise."""
        own, found = self.job.budget_usd, self.approved
        if found is None or found.cap_usd is None or (own is not None and own <= found.cap_usd):
            return None
        return found

    @property
    def budget_usd(self) -> Decimal | None:
        """What this output may cost over all its runs: the job's own budget, or the approved cap if that is lower."""
        return self.job.budget_usd if self.binding_approval is None else self.binding_approval.cap_usd

    @property
    def capped_job(self) -> Job:
        """The job with that budget as its own, for code that gets the job alone."""
        return self.job.model_copy(update={"budget_usd": self.budget_usd})

    @property
    def properties(self) -> Mapping[str, Any]:
        """The top-level properties of the response schema."""
        return self.schema.properties if self.schema is not None else {}

    @property
    def names(self) -> ColumnNames:
        """What the output calls its columns."""
        return column_names(self.job, self.dataset.carried, self.properties)

    @property
    def identity(self) -> str:
        """A digest of everything that the output's content depends on: equal identity, equal output."""
        parts: dict[str, Any] = {
            "input": identifying_input(self.job.input.model_dump(mode="json")),
            "rows": self.dataset.fingerprint,
            "request": identifying_request(self.job.request.model_dump(mode="json")),
            "schema": self.schema.strict_schema if self.schema else None,
            "compare": self.job.output.compare,
        }
        output = self.job.output.model_dump()
        named = {key: output[key] for key, default in _NAMES.items() if output[key] != default}
        if named:  # a job without them keeps the identity that it had before there were such keys
            parts["names"] = named
        return request_digest("identity", orjson.dumps(parts, option=orjson.OPT_SORT_KEYS))


def today() -> date:
    """Today in UTC: the day that `{{ date }}` stands for if no schedule started the run."""
    return datetime.now(UTC).date()


def prepare(job: Job, today: date, dataset: Dataset | None = None) -> Prepared:
    """A job made ready; nothing of it costs money.

    Raises: JobError, DatasetError or OutputError if the job can't be carried out as it is written.
    """
    job = resolve_output(job, today)
    schema = load_schema(job.request.response_schema) if job.request.response_schema is not None else None
    prices = prices_for(job.request.model, job.pricing)
    counter = counter_for(job.request.model)
    dataset = dataset or open_dataset(job.input, job.output.url)
    builder = RequestBuilder(job.request, dataset.schema.names, schema, counter)
    _refuse_unwritable(dataset)
    _refuse_clashes(job, dataset, schema)
    output = open_output(job.output.url)
    store = Store(output.folder(CHECKPOINTS))
    return Prepared(job, job_digest(job), dataset, schema, builder, counter, prices, output, store)


def resolve_output(job: Job, today: date) -> Job:
    """The job with its input.url and output.url rendered. Raises: JobError when a template is wrong."""
    values: Mapping[str, str] = {"job": job.name, "date": today.isoformat()}
    source = job.input.url
    if "{{" in source or "{%" in source:
        source = render_once("input.url", source, values)
    stem = PurePosixPath(urlsplit(source).path).name.split(".")[0]
    url = render_once("output.url", job.output.url, {**values, "input_name": stem})
    urls = {"input": job.input.model_copy(update={"url": source}), "output": job.output.model_copy(update={"url": url})}
    return job.model_copy(update=urls)


def open_output(url: str) -> Storage:
    """The output's folder. Raises: OutputError when fsspec knows no storage of that kind."""
    try:
        return Storage(url)
    except (ValueError, ImportError, OSError) as error:
        raise OutputError(
            f"output.url {shown_place(url)!r} can't be opened: {public_text(str(error), url)}. Give a folder at a URL "
            "that fsspec knows."
        ) from error


def _refuse_unwritable(dataset: Dataset) -> None:
    if found := unwritable_columns(dataset.schema, dataset.carried):
        raise JobError(
            f"the input's columns {', '.join(found)} are of types that Parquet, and so the output, can't hold. Name the "
            "columns to carry without them in input.columns; templates see all columns either way."
        )


def _refuse_clashes(job: Job, dataset: Dataset, schema: ResponseSchema | None) -> None:
    properties = schema.properties if schema is not None else {}
    names = column_names(job, dataset.carried, properties)
    clashes = clashing_columns(job, dataset.carried, properties)
    if clashes:
        settings = dict.fromkeys(key for key in map(names.setting_of, clashes) if key is not None)
        raise JobError(
            f"{', '.join(map(repr, clashes))} would be the name of more than one column of the output; the input's columns "
            f"and ours have different names. Set {', '.join(settings) or 'input.columns'}, or "
            "leave the input's column out of the output by input.columns: templates see it either way."
        )
    for answer, known in (job.output.compare or {}).items():
        if known not in dataset.carried or (schema is not None and names.property_of(answer) not in properties):
            raise JobError(
                f"output.compare sets {answer!r} against {known!r}; the first must be a property of response_schema and "
                "the second a carried input column. Fix output.compare."
            )
