"""The manifest: the record that makes an output complete, written last.

It holds the whole job (which holds no secret), so that a later run can say how its own job differs.
A reader ignores unknown fields and does without those after `flow_run_ids`, so that versions can read each other's
manifests. It refuses a file with any other fault: that file is torn or foreign.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, cast

import orjson
from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer, TypeAdapter, ValidationError

from promptmill.errors import OutputError
from promptmill.hive_folders import folder_type_name
from promptmill.job.spec import Job
from promptmill.output.forecast import Measured, Scorecard
from promptmill.public_url import public_url
from promptmill.storage import STORAGE_ERRORS, Storage

MANIFEST = "_manifest.json"
REPORT = "_report.html"
PART_NAME = re.compile(r"part-([0-9a-f]{8})-(\d{5,})\.parquet")
_FOLDERS = r"([^/=._][^/=]*=[^/]*/)*"  # of output.partition_by
_PART_PATH = re.compile(rf"(_failures/|{_FOLDERS})part-[^/]+\.parquet")
OUR_PART = re.compile(rf"(_failures/|{_FOLDERS}){PART_NAME.pattern}")  # the path of a part that a run of ours wrote


def _decimal_string(amount: Decimal) -> str:
    """A Decimal without exponent and without trailing zeros."""
    return f"{amount.normalize():f}"


def _time_string(time: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def inside_output(path: str) -> str:
    """The path itself, if it is a part's. A manifest is an input: what we read or remove by it must lie in its output."""
    if _PART_PATH.fullmatch(path) is None:
        raise ValueError("not the path of a part")
    return path


Count = Annotated[int, Field(ge=0)]
Usd = Annotated[Decimal, PlainSerializer(_decimal_string)]
Time = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC)), PlainSerializer(_time_string)]


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One Parquet file of the output."""

    path: Annotated[str, AfterValidator(inside_output)]  # relative to output.url
    rows: Count
    bytes: Count


@dataclass(frozen=True, slots=True)
class FolderColumn:
    """A column of the parts that stands in the names of their folders, and not in their files."""

    name: str
    type: Annotated[str, AfterValidator(folder_type_name)]  # as Arrow spells it
    is_carried: bool  # from the input, so that failures have it too


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody told a run while it was under way, and it did."""

    at: Time
    by: str
    what: str  # "pause", "set budget_usd=50", …


@dataclass(frozen=True, slots=True)
class Changed:
    """What a run with a deadline decided to do."""

    at: Time
    what: str


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a run was to be done, and what it decided for that."""

    text: str  # as the job says it
    at: Time
    is_kept: bool
    changes: tuple[Changed, ...]  # the plan first


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run did, and the list of its parts."""

    job: dict[str, Any]  # the whole job, as JSON values
    job_digest: str  # 8 hex
    mode: Annotated[str, Field(pattern="^(online|batch)$")]
    state: Annotated[str, Field(pattern="^(completed|budget_exhausted|failed|cancelled)$")]
    rows: Count  # succeeded + failed in every finished run
    succeeded: Count
    failed: Count
    reused: Count  # rows that an earlier run had answered
    requests_sent: Count  # by this run
    attempts: Count  # by this run
    input_tokens: Count  # of all rows, cached ones included
    cached_input_tokens: Count
    output_tokens: Count
    cost_usd: Usd  # of all rows, earlier runs included
    estimated_cost_usd: Usd | None
    budget_usd: Usd | None
    started_at: Time
    finished_at: Time
    seconds: float
    parts: tuple[PartInfo, ...]  # in input order
    failure_parts: tuple[PartInfo, ...]
    batches: tuple[dict[str, object], ...]  # id, status, requests
    flow_run_ids: tuple[str, ...]
    failures_by_kind: dict[str, int] = field(default_factory=dict[str, int])
    input_fingerprint: str = ""
    accuracy: dict[str, Any] | None = None  # answer column → how often it agrees (report/accuracy.py)
    promptmill_version: str = ""
    reasoning_tokens: Count = 0  # of `output_tokens`; rows that an early version answered count none
    shared: Count = 0  # rows that take the answer of another row with the same request
    cached: Count = 0  # rows that a cache answered, in this run or an earlier one
    partition_columns: tuple[FolderColumn, ...] = ()  # in the order of the folders
    input_versions: dict[str, str] = field(default_factory=dict[str, str])  # of tables, by their public URL
    measured: Measured | None = None  # what a row took, of a sample
    scorecard: Scorecard | None = None  # the estimate beside what the run took, where a sample was there before
    retries_by_kind: dict[str, int] = field(
        default_factory=dict[str, int]
    )  # attempts of this run that another followed
    audit: dict[str, Any] | None = None  # the bounds of the provider's bill and the table (audit/table.py)
    limited_by: dict[str, float] = field(default_factory=dict[str, float])  # limit → share of the run's time
    steering: tuple[Told, ...] = ()  # in the order in which it was told
    deadline: Deadline | None = None  # of a run that had one


_FORMAT: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def manifest_values(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values: money as decimal strings, times as ISO 8601 in UTC."""
    return _FORMAT.dump_python(manifest, mode="json")


def manifest_from(values: Mapping[str, Any]) -> Manifest:
    """The manifest of such JSON values, as a flow returns them."""
    return _FORMAT.validate_python(values)


def encode(manifest: Manifest) -> bytes:
    """The bytes of a manifest file."""
    return orjson.dumps(manifest_values(manifest), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decode(data: bytes, source: str = MANIFEST) -> Manifest:
    """The manifest in a file's bytes. Raises: OutputError, which names `source`, when they are torn or foreign."""
    try:
        return _FORMAT.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(key) for key in first["loc"]) or "the file"
        raise OutputError(
            f"{source} is no manifest of Promptmill's: {place}: {first['msg']}. A manifest is written whole, after all "
            "parts (output.url). Give another output.url, or delete the file and run the job again."
        ) from error


def write_manifest(storage: Storage, manifest: Manifest) -> None:
    """Make an output complete. Raises: any of STORAGE_ERRORS."""
    storage.write(MANIFEST, encode(manifest))


def read_manifest(storage: Storage) -> Manifest | None:
    """The manifest that an output has now; None if it has none.

    Raises: OutputError when it can't be read, or is torn or foreign.
    """
    source = f"{storage.shown}/{MANIFEST}"
    try:
        data = storage.read(MANIFEST)
    except FileNotFoundError:
        return None
    except STORAGE_ERRORS as error:
        raise OutputError(
            f"{source} can't be read: {type(error).__name__}: {storage.describe(error)}. It says whether the output "
            "is complete "
            "(output.url). Check the address, the permissions and AWS_*."
        ) from error
    return decode(data, source)


def public_job(job: Job) -> dict[str, Any]:
    """The job as JSON values, its URLs without passwords and signatures."""
    return with_public_urls(job.model_dump(mode="json"))


def with_public_urls(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job's JSON values, its URLs without passwords and signatures."""
    public = dict(job)
    for section, key in (("input", "url"), ("output", "url"), ("request", "response_schema")):
        inner = public.get(section)
        if isinstance(inner, dict) and key in inner:
            public[section] = {**inner, key: _public(cast(object, inner[key]))}
    return public


def _public(value: object) -> object:
    """A URL or a list of URLs without secrets; anything else, such as a schema's text, as it is."""
    if isinstance(value, list):
        return [_public(url) for url in cast(list[object], value)]
    return public_url(value) if isinstance(value, str) and not value.lstrip().startswith("{") else value
