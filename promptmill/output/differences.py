"""How the job whose output is there differs from another one, in lines for people."""

from collections.abc import Mapping
from typing import Any, cast

import orjson

from promptmill.job.identity import identifying_request, job_digest
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest, public_job, with_public_urls
from promptmill.public_url import public_url
from promptmill.shorten import shorten

_SHOWN_DIFFERENCES = 12
_SHOWN_CHARACTERS = 60  # of a value that differs
_SHOWN_BEFORE = 15  # of those, before the first difference


def describe_difference(standing: Manifest, job: Job) -> list[str]:
    """How the job whose output is there differs from this one, a line for each value: `key: old -> new`, shortened."""
    old = _identity(with_public_urls(standing.job))  # an earlier version wrote them with their secrets
    new = _identity(public_job(job))
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    has_secret = any(public_url(url) != url for url in job.input.urls)
    if not keys and has_secret and standing.job_digest != job_digest(job):
        return ["input.url: the same address with another password or signature"]
    lines = [f"{key}: {_differing(old.get(key), new.get(key))}" for key in keys[:_SHOWN_DIFFERENCES]]
    return lines if len(keys) <= _SHOWN_DIFFERENCES else [*lines, f"and {len(keys) - _SHOWN_DIFFERENCES} more"]


def _identity(job: Mapping[str, Any]) -> dict[str, object]:
    """What the job digest covers, by dotted key."""
    known: dict[str, object] = {"name": job.get("name"), "request": identifying_request(job.get("request") or {})}
    known["input"] = {"url": (job.get("input") or {}).get("url")}
    return dict(_flatten("", known))


def _flatten(prefix: str, value: object) -> list[tuple[str, object]]:
    """Every leaf with its dotted key. An empty list or object has no leaf, so it equals an absent one."""
    if isinstance(value, dict):
        inner = [(str(key), child) for key, child in cast(dict[object, object], value).items()]
    elif isinstance(value, list):
        inner = [(str(position), child) for position, child in enumerate(cast(list[object], value))]
    else:
        return [(prefix, value)]
    return [leaf for key, child in inner for leaf in _flatten(f"{prefix}.{key}" if prefix else key, child)]


def _differing(old: object, new: object) -> str:
    """`old -> new`; of long strings, the part where they first differ."""
    start = 0
    if isinstance(old, str) and isinstance(new, str):
        pairs = zip(old, new, strict=False)
        start = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(old), len(new)))
    start = max(0, start - _SHOWN_BEFORE)
    return f"{_shorten(old, start)} -> {_shorten(new, start)}"


def _shorten(value: object, start: int) -> str:
    if not isinstance(value, str):
        text = "none" if value is None else orjson.dumps(value).decode()
        return shorten(text, _SHOWN_CHARACTERS)
    if len(value) <= _SHOWN_CHARACTERS:
        return repr(value)
    return repr(("…" if start else "") + shorten(value[start:], _SHOWN_CHARACTERS))
