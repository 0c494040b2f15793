"""Words of the report: a value of the dataset, what each kind of failure asks for, the job as YAML. Pure."""

from collections.abc import Mapping
from typing import Any, cast

import orjson
import yaml

from promptmill.job.spec import Job
from promptmill.output.manifest import with_public_urls
from promptmill.records import FailureKind
from promptmill.shorten import shorten

_NUMBERS_SHOWN = 4  # of a vector
_YAML_CHARACTERS = 12_000

_AGAIN = "then run the same command again: it asks these rows again (retry_failed)"
REMEDIES: dict[FailureKind, str] = {
    "template_error": "The template failed for this row, usually because a column is null. Handle it in the "
    "template, as in {{ text or 'none' }}, or leave such rows out.",
    "unreadable_row": "The row isn't as its file's format wants it, or a value isn't of the type that input.types asks for. "
    "Fix the row; its message says where it stands.",
    "invalid_request": "The provider refused the request as it is. Its message says why: fix the row's data, the prompt "
    "or request.parameters.",
    "context_length_exceeded": "The row is longer than the model can read. Cut it in the template, as in "
    "{{ text[:20000] }}, or take a model with a longer context.",
    "content_filter": "The provider's filter stopped the request or its answer. Rephrase the prompt, or leave the row out.",
    "refusal": "The model declined to answer. Say in the prompt what the answer is for, or take another model.",
    "truncated": "The answer ran into the output limit. Raise it in request.parameters, or ask for a shorter answer.",
    "truncated_input": "The server cut the prompt and answered the rest. Make its context window larger, or set "
    "request.max_input_tokens.",
    "invalid_response": "The answer didn't fit response_schema, nor did a second one. Describe the fields in the schema, "
    "make it simpler, or take a stronger model.",
    "empty_response": "The model answered with an empty text, twice. Say in the prompt what to answer in every case, or set "
    "request.allow_empty if an empty answer is one.",
    "rate_limited": f"The provider said 429 until the row's time was up. Lower limits.*, {_AGAIN}.",
    "server_error": f"The provider failed each time; such faults are usually over soon. Wait, {_AGAIN}.",
    "timeout": f"No answer came in time. Raise retry.request_timeout_seconds or lower limits.max_concurrency, {_AGAIN}.",
    "connection": f"The connection broke each time. Check the network and the provider's status, {_AGAIN}.",
    "batch_expired": f"The batch expired before the row's turn. Set batch.leftovers to online, {_AGAIN}.",
    "batch_cancelled": f"The batch was cancelled before the row's turn. If that wasn't meant, {_AGAIN.removeprefix('then ')}.",
    "missing": f"The provider's results have no line for this row. Report it to them, {_AGAIN}.",
}


def remedy(kind: str) -> str:
    """What to do about a kind of failure."""
    return cast(Mapping[str, str], REMEDIES).get(kind, "")


def cell(value: object, characters: int) -> str:
    """A value of the dataset as a person reads it, clipped."""
    if isinstance(value, str):
        return shorten(value, characters)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, list | dict):
        return shorten(_json(cast(object, value)), characters)
    return "null" if value is None else shorten(str(value), characters)


def property_cell(value: object, characters: int) -> str:
    """A property of an answer as a person reads it: true, not True, as JSON has it."""
    return str(value).lower() if isinstance(value, bool) else cell(value, characters)


def vector(values: list[float]) -> str:
    """An embedding by its length and first numbers."""
    shown = ", ".join(f"{value:.4f}" for value in values[:_NUMBERS_SHOWN])
    return f"{len(values):,} numbers: {shown}{', …' if len(values) > _NUMBERS_SHOWN else ''}"


def job_yaml(job: Job) -> str:
    """The job as a job file, without its defaults and without the secrets of its URLs."""
    values = with_public_urls(job.model_dump(mode="json", exclude_defaults=True))
    return shorten(_dump_yaml(values), _YAML_CHARACTERS)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _dump_yaml(values: Mapping[str, Any]) -> str:
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # nested too deep, or an integer beyond 64 bits
        return str(value)
