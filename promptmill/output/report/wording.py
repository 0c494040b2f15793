"""Words and numbers of the report: how amounts are written, what each kind of failure asks for, the job as YAML. Pure."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
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


def count(value: float) -> str:
    """1,234,567; from ten million on 12.3M."""
    return f"{value:,.0f}" if abs(value) < 10_000_000 else compact(value)


def compact(value: float) -> str:
    """Three digits and a letter: 950, 1.25k, 12.3M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share of 1 as 12.3 %; 0 % and 100 % only if it is exactly that."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    return f"{min(max(share * 100, 0.1), 99.9):.1f} %"


def usd(amount: Decimal | float) -> str:
    """$1,234.50, $0.4123, $0.000012: cents above a dollar, four digits that matter below."""
    value = float(amount)
    if value == 0:
        return "$0"
    if abs(value) >= 1:
        return f"${value:,.2f}"
    digits = next(places for places in range(4, 13) if abs(value) >= 10.0 ** (3 - places) or places == 12)
    return f"${value:.{digits}f}"


def duration(seconds: float) -> str:
    """0.8 s, 12 s, 3 min 12 s, 1 h 04 min, 2 d 3 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def seconds(value: float) -> str:
    """A latency: 45 ms, 1.23 s, 75 s."""
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.3g} s"


def clock(time: datetime) -> str:
    """2026-11-24 04:13 UTC."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def cell(value: object, characters: int) -> str:
    """A value of the dataset as a person reads it, clipped."""
    if isinstance(value, str):
        return shorten(value, characters)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, list | dict):
        return shorten(_json(cast(object, value)), characters)
    return "null" if value is None else shorten(str(value), characters)


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
