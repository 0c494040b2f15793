"""A job whose input is listed, and whose response schema and output are opened.

That is enough to say whether its output is complete. No file of the input is opened for it, however many there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import orjson

from promptmill.checkpoints.store import Store
from promptmill.dataset.dataset import Dataset, Listed, list_input
from promptmill.errors import DatasetError, OutputError
from promptmill.job.identity import identifying_request, job_digest, request_digest
from promptmill.job.input_spec import identifying_input
from promptmill.job.output_spec import LATER
from promptmill.job.spec import Job
from promptmill.places import shown_place
from promptmill.planning.pinned_versions import PINNED, read_pinned
from promptmill.prompts.response_schema import ResponseSchema, load_schema
from promptmill.prompts.templates import render_once
from promptmill.public_url import public_text
from promptmill.storage import Storage

CHECKPOINTS = "_checkpoints"
SAMPLES = "_samples"


@dataclass(frozen=True, slots=True)
class Opened:
    """A job, its input and its output."""

    job: Job  # its input.url and output.url are rendered
    digest: str  # of the job, 8 hex
    source: Listed | Dataset  # the input
    schema: ResponseSchema | None
    output: Storage
    store: Store

    @property
    def identity(self) -> str:
        """A digest of everything that the output's content depends on: equal identity, equal output."""
        parts: dict[str, Any] = {
            "input": identifying_input(self.job.input.model_dump(mode="json")),
            "rows": self.source.fingerprint,
            "request": identifying_request(self.job.request.model_dump(mode="json")),
            "schema": self.schema.strict_schema if self.schema else None,
            "compare": self.job.output.compare,
        }
        if self.job.request.answer_each_row:  # a job without it keeps the identity that it had before
            parts["answer_each_row"] = True
        output = self.job.output.model_dump()
        named = {key: output[key] for key, default in LATER.items() if output[key] != default}
        if named:  # a job without them keeps the identity that it had before there were such keys
            parts["names"] = named
        return request_digest("identity", orjson.dumps(parts, option=orjson.OPT_SORT_KEYS))


def open_job(job: Job, today: date, dataset: Dataset | None = None) -> Opened:
    """A job with its input listed and its output opened; `dataset` stands for `input.url`. Nothing of it costs money.

    Raises: JobError, DatasetError or OutputError if one of them can't be used.
    """
    job = resolve_output(job, today)
    schema = load_schema(job.request.response_schema) if job.request.response_schema is not None else None
    source = list_input(job.input, job.output.url) if dataset is None else dataset
    output = open_output(job.output.url)
    digest, checkpoints = job_digest(job), output.folder(CHECKPOINTS)
    pinned = read_pinned(checkpoints, digest) if source.versions else {}
    if dataset is None and pinned and pinned != source.versions:
        source = _list_pinned(job, pinned, checkpoints)
    return Opened(job, digest, source, schema, output, Store(checkpoints))


def _list_pinned(job: Job, pinned: Mapping[str, str], checkpoints: Storage) -> Listed | Dataset:
    """The input at the versions with which an unfinished run began. Raises: DatasetError."""
    try:
        return list_input(job.input, job.output.url, pinned)
    except DatasetError as error:
        raise DatasetError(
            f"{error} An unfinished run of this job began with that version, and goes on with it: restore the version, or "
            f"delete {checkpoints.shown}/{PINNED} to begin with the newest one."
        ) from error


def today() -> date:
    """Today in UTC: the day that `{{ date }}` stands for if no schedule started the run."""
    return datetime.now(UTC).date()


def resolve_output(job: Job, today: date) -> Job:
    """The job with its input.url and output.url rendered. Raises: JobError when a template is wrong."""
    values: Mapping[str, str] = {"job": job.name, "date": today.isoformat()}
    sources = [_rendered(url, values) for url in job.input.urls]
    stem = PurePosixPath(urlsplit(sources[0]).path).name.split(".")[0]
    url = render_once("output.url", job.output.url, {**values, "input_name": stem})
    read = job.input.with_urls(sources)
    return job.model_copy(update={"input": read, "output": job.output.model_copy(update={"url": url})})


def _rendered(url: str, values: Mapping[str, str]) -> str:
    return render_once("input.url", url, values) if "{{" in url or "{%" in url else url


def open_output(url: str) -> Storage:
    """The output's folder. Raises: OutputError when fsspec knows no storage of that kind."""
    try:
        return Storage(url)
    except (ValueError, ImportError, OSError) as error:
        raise OutputError(
            f"output.url {shown_place(url)!r} can't be opened: {public_text(str(error), url)}. Give a folder at a URL "
            "that fsspec knows."
        ) from error
