"""A job made ready for a run: dataset, templates, schema, prices and storage, opened once. A wrong job is refused here."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any

from promptmill.dataset.dataset import Dataset
from promptmill.errors import JobError
from promptmill.job.spec import Job
from promptmill.limits.approved_cap import Approved
from promptmill.limits.pricing import PriceList, prices_for
from promptmill.output.columns import ColumnNames, clashing_columns, column_names, confidence_columns
from promptmill.output.parts import unwritable_columns
from promptmill.planning.folders import refuse_unfit_folders
from promptmill.planning.opened_job import CHECKPOINTS, SAMPLES, Opened, open_job, open_output, resolve_output, today
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.request_tags import metadata_of
from promptmill.prompts.response_schema import ResponseSchema
from promptmill.prompts.shared_prefix import takes_cache_key
from promptmill.prompts.tokens import TokenCounter, counter_for

__all__ = [  # most import what opens a job together with what prepares it
    "CHECKPOINTS",
    "SAMPLES",
    "Prepared",
    "open_output",
    "prepare",
    "prepare_opened",
    "resolve_output",
    "today",
]


@dataclass(frozen=True, slots=True)
class Prepared(Opened):
    """A job, and everything that a run needs to carry it out."""

    dataset: Dataset
    builder: RequestBuilder
    counter: TokenCounter
    prices: PriceList
    approved: Approved | None = None  # what a person approved last for this output

    def routed_to(self, base_url: str) -> "Prepared":
        """The same job; its requests tell the provider at that address which begin alike, and the tags, if it takes these."""
        metadata = metadata_of(self.job.tags, self.job.request, base_url)
        self.builder.send_also(metadata, with_cache_key=takes_cache_key(base_url))
        return self

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


def prepare(job: Job, today: date, dataset: Dataset | None = None) -> Prepared:
    """A job made ready; nothing of it costs money.

    Raises: JobError, DatasetError or OutputError if the job can't be carried out as it is written.
    """
    return prepare_opened(open_job(job, today, dataset))


def prepare_opened(opened: Opened) -> Prepared:
    """An opened job made ready; it opens the input. Raises: JobError or DatasetError if it can't be carried out as written."""
    if isinstance(opened, Prepared):
        return opened
    job, schema = opened.job, opened.schema
    dataset = opened.source if isinstance(opened.source, Dataset) else opened.source.open()
    prices = prices_for(job.request.model, job.pricing)
    counter = counter_for(job.request.model)
    builder = RequestBuilder(job.request, dataset.schema.names, schema, counter, prices.context_tokens)
    _refuse_unwritable(dataset)
    _refuse_clashes(job, dataset, schema)
    refuse_unfit_folders(job, dataset, schema)
    known = {field.name: getattr(opened, field.name) for field in fields(Opened)}
    return Prepared(**known, dataset=dataset, builder=builder, counter=counter, prices=prices)


def _refuse_unwritable(dataset: Dataset) -> None:
    if found := unwritable_columns(dataset.schema, dataset.carried):
        raise JobError(
            f"the input's columns {', '.join(found)} are of types that Parquet, and so the output, can't hold. Name the "
            "columns to carry without them in input.columns; templates see all columns either way."
        )


def _refuse_clashes(job: Job, dataset: Dataset, schema: ResponseSchema | None) -> None:
    properties, definitions = (schema.properties, schema.definitions) if schema is not None else ({}, {})
    names = column_names(job, dataset.carried, properties)
    sure = confidence_columns(job, names, properties, definitions)
    clashes = clashing_columns(job, dataset.carried, properties, sure)
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
