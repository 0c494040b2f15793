"""The job: what a user writes in a job file, and the parameter that the flows show as a form.

One pydantic model serves both, so the file, the form and the documentation can't drift apart.
Validation is strict about names: an unknown key is an error that names the nearest key. It lets everything pass in
`request.parameters`, which goes to the provider as it is: a list of allowed fields would be out of date within weeks.
"""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from promptmill.job.amounts import Money, Portion
from promptmill.job.batch_spec import Batch
from promptmill.job.deadline import Deadline
from promptmill.job.input_spec import Csv, Input
from promptmill.job.output_spec import FormatOptions, Output
from promptmill.job.request_spec import RESERVED_PARAMETERS, Endpoint, Message, RequestSpec
from promptmill.job.section import Section
from promptmill.job.splitting import refuse_two_splits

__all__ = [
    "RESERVED_PARAMETERS",
    "Batch",
    "Csv",
    "Endpoint",
    "FormatOptions",
    "Input",
    "Message",
    "Output",
    "RequestSpec",
    "Section",
]  # the job's parts come from here


def _refuse_our_tags(name: str) -> str:
    if name.startswith(_OUR_TAGS):
        raise ValueError(f"a tag's name can't begin with {_OUR_TAGS}: Promptmill's own tags of batches do. Rename it")
    return name


_TagName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_refuse_our_tags)]
_TagValue = Annotated[str, Field(max_length=512)]
Concurrency = Literal["auto"] | Annotated[int, Field(ge=1, le=10_000)]  # the first is the one that the form shows
PlanAhead = Literal["auto", "head", "whole"]
Processes = Annotated[int, Field(ge=1, le=256)] | Literal["auto"]
RetryFailed = Literal["passing", "all", "none"]
_TIMEOUT_SECONDS = 120.0
_FLEX_TIMEOUT_SECONDS = 900.0  # OpenAI's guide to flex processing, from memory
_MOST_TAGS = 14  # a batch's metadata takes 16 pairs, and Promptmill uses two (OpenAI's API reference, read 2026-11-24)
_OUR_TAGS = "promptmill"  # the prefix of these two names


class Limits(Section):
    """What the provider allows. Empty: learned from the provider's x-ratelimit headers."""

    requests_per_minute: int | None = Field(default=None, ge=1, description="Requests a minute. Empty: learned.")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Tokens a minute, in and out. Empty: learned."
    )
    input_tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Input tokens a minute, where the provider counts them apart. Empty: learned."
    )
    output_tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Output tokens a minute, where the provider counts them apart. Empty: learned."
    )
    max_concurrency: Concurrency = Field(
        default="auto",
        description="Requests in flight at once, over all chunks: a fixed bound, or auto, which finds as many as the provider "
        "answers well.",
    )
    shared: str | None = Field(
        default=None,
        description="Name of a limit that several processes share: the Prefect global concurrency limits "
        "NAME-requests and NAME-tokens.",
    )


class Retry(Section):
    """How often and how long Promptmill tries a row."""

    max_attempts: int = Field(
        default=6, ge=1, le=100, description="Attempts for one row; a wait for a rate limit doesn't count."
    )
    max_elapsed_seconds: float = Field(default=600, gt=0, description="Seconds from a row's first attempt to its last.")
    max_outage_seconds: float = Field(
        default=1_800,
        gt=0,
        description="Seconds without any answer, while server or connection fail for all rows, after which the run ends; "
        "its rows stay unanswered.",
    )
    max_wait_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Seconds without any answer, while the provider refuses all rows because of its limits or capacity, after "
        "which the run ends; its rows stay unanswered. Default: max_elapsed_seconds.",
    )
    request_timeout_seconds: float = Field(
        default=_TIMEOUT_SECONDS,
        gt=0,
        description="Seconds that one attempt may take. At the flex tier, the default is 900.",
    )

    @property
    def longest_wait_seconds(self) -> float:
        """How long the run waits for limits and capacity."""
        return self.max_elapsed_seconds if self.max_wait_seconds is None else self.max_wait_seconds


class Pricing(Section):
    """US dollars per million tokens, for a model that the price table doesn't know."""

    input_per_mtok: Money = Field(description="USD per million input tokens.")
    cached_input_per_mtok: Money | None = Field(
        default=None, description="USD per million cached input tokens. Default: the input's price."
    )
    output_per_mtok: Money = Field(
        default=Decimal(0), description="USD per million output tokens; embeddings have none."
    )
    batch_discount: Portion = Field(
        default=Decimal("0.5"), description="The Batch API's discount: 0.5 is half the price."
    )


class Job(Section):
    """A model run over every row of a dataset."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100, description="Lower case, digits and dashes.")
    input: Input = Field(description="Where the rows come from.")
    request: RequestSpec = Field(description="What the job asks the model for each row.")
    output: Output = Field(description="Where the answers go.")
    provider: str | None = Field(
        default=None, description="A credentials block's name. Empty: OPENAI_API_KEY and OPENAI_BASE_URL of the worker."
    )
    budget_usd: Money | None = Field(
        default=None, description="Hard cap in US dollars for this output, over all its runs."
    )
    approve_above_usd: Money | None = Field(
        default=None, description="Ask a person before a run whose estimate is above this."
    )
    approve_within_seconds: float = Field(
        default=86_400, ge=1, description="How long a person has for the answer; no answer in time counts as no."
    )
    deadline: Deadline | None = Field(
        default=None,
        description="When an online run shall be done, as 6h from its start or 2026-12-01T08:00:00Z: batches answer what they "
        "can by then at their price, and the rest is asked online in time. Empty: everything online.",
    )
    max_failure_ratio: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Stop the run when more than this share of the rows seen (at least 100) failed.",
    )
    limits: Limits = Field(default_factory=lambda: Limits.model_validate({}))
    retry: Retry = Field(
        default_factory=lambda: Retry.model_validate({}), description="How often and how long a row is tried."
    )
    retry_failed: RetryFailed = Field(
        default="passing",
        description="Which failed rows a new run of the job asks again: those that failed for a passing reason, such as a "
        "timeout, all of them, or none.",
    )
    cache: str | None = Field(
        default=None,
        description="A folder of answers that outputs share, any fsspec URL: what was paid for once isn't asked again. Empty: "
        "PROMPTMILL_CACHE_URL of the worker, or none.",
    )
    cache_max_age_days: float | None = Field(
        default=None, gt=0, description="Take no answer from the cache that is older. Empty: any."
    )
    tags: dict[_TagName, _TagValue] = Field(
        default_factory=dict[str, str],
        max_length=_MOST_TAGS,
        description="What a bill is to be told apart by, such as {team: search}: in the manifest, the audit, the metadata of "
        "batches, and that of requests where the provider takes it.",
    )
    pricing: Pricing | None = Field(default=None, description="Prices, for a model that the price table doesn't know.")
    chunk_rows: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Rows in a chunk: one Prefect task, one checkpoint. Empty: by chunk_seconds, 200 to 20,000.",
    )
    chunk_seconds: float = Field(
        default=60,
        gt=0,
        le=86_400,
        description="Seconds that a chunk should take where chunk_rows is empty: by the limits, or the last sample.",
    )
    plan: PlanAhead = Field(
        default="auto",
        description="What is planned before the first request. head: the first rows, and the others while the run asks; "
        "whole: all rows; auto: head, unless a budget, an approval, an id column or folders need all rows.",
    )
    chunks_in_flight: int = Field(default=4, ge=1, le=1_000, description="Chunks that have rows to send at once.")
    shards: int = Field(
        default=1,
        ge=1,
        le=1_000,
        description="Parts of the dataset that workers answer side by side, each in its own run. 1: this process alone.",
    )
    task_runner: Literal["local", "dask"] = Field(
        default="local", description="What runs the shards: Prefect workers, or a Dask cluster."
    )
    processes: Processes = Field(
        default=1,
        description="Processes of one machine that answer the rows side by side. auto: as many as cores, where the run is "
        "large enough.",
    )
    checkpoint_rows: int = Field(
        default=50, ge=1, description="How many answered rows a kill can lose at most for each of chunks_in_flight."
    )
    batch: Batch = Field(default_factory=lambda: Batch.model_validate({}))

    @model_validator(mode="after")
    def _require_output_price(self) -> "Job":
        is_paid = self.request.endpoint != "embeddings"
        if self.pricing is not None and is_paid and "output_per_mtok" not in self.pricing.model_fields_set:
            raise ValueError(
                f"pricing has no output_per_mtok, and {self.request.endpoint} answers are paid by it. Set it (0 for a "
                "model whose answers cost nothing)"
            )
        if self.deadline is not None and (self.shards > 1 or self.task_runner != "local" or self.processes != 1):
            split = "shards" if self.processes == 1 else "processes"
            raise ValueError(
                f"deadline and {split} exclude each other: the parts of a run keep no deadline yet. Leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _refuse_two_splits(self) -> "Job":
        refuse_two_splits(self.processes, self.shards > 1 or self.task_runner != "local", self.limits.shared)
        return self

    @property
    def attempt_seconds(self) -> float:
        """Seconds that one attempt may take: answers at the flex tier are slow, so the default is longer there."""
        is_flex = self.request.sent_parameters.get("service_tier") == "flex"
        given = self.retry.request_timeout_seconds
        return _FLEX_TIMEOUT_SECONDS if is_flex and given == _TIMEOUT_SECONDS else given

    SECTIONS: ClassVar[tuple[str, ...]] = ("input", "request", "output", "limits", "retry", "pricing", "batch")
