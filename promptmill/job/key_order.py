"""One order for the keys of JSON objects, in whatever order they arrive. Pure.

A server on PostgreSQL keeps a run's parameters as JSONB, which forgets the order of keys (shorter ones come first,
PostgreSQL 15 manual, 8.14, read 2026-11-25), so that equal jobs reach a worker with their keys in other orders than a
job file has. A request's identity is a digest of its bytes; hence keys are sorted before anything is written.

Only in the `properties` of a JSON Schema does the order mean something: a model writes its answer in it. There it is
taken from what JSONB does keep, an array: the `required` beside it, which strict mode demands complete. Properties that
it doesn't name follow, by name. Strict schemas name all theirs, so that this changes nothing in them; the same holds
for the parameters of tools among `request.parameters`.
"""

from collections.abc import Mapping
from typing import Any, cast

import orjson
import yaml


def canonical(value: Any) -> Any:
    """The same value with the keys of its objects sorted, but for the properties of a JSON Schema.

    Raises: TypeError when the keys of an object aren't all strings.
    """
    if isinstance(value, list):
        return [canonical(one) for one in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    known = cast(dict[str, Any], value)
    return {key: _canonical_under(key, known) for key in sorted(known)}


def order_properties(properties: Mapping[str, Any], required: object) -> dict[str, Any]:
    """The properties in the order in which `required` names them, and those that it doesn't name after them, by name."""
    named = cast(list[object], required) if isinstance(required, list) else []
    first = [name for name in named if isinstance(name, str) and name in properties]
    return {name: properties[name] for name in dict.fromkeys([*first, *sorted(properties)])}


def _canonical_under(key: str, known: Mapping[str, Any]) -> Any:
    value = known[key]
    if key != "properties" or not isinstance(value, dict):
        return canonical(value)
    ordered = order_properties(cast(dict[str, Any], value), known.get("required"))
    return {name: canonical(one) for name, one in ordered.items()}


def is_schema_text(spec: object) -> bool:
    """Whether it is a schema itself, and not where to find one."""
    return isinstance(spec, str) and spec.lstrip().startswith("{")


def parse_schema_text(text: str) -> dict[str, Any]:
    """The schema in a text of JSON or YAML, in the order written. Raises: ValueError when it is neither."""
    try:
        return cast(dict[str, Any], orjson.loads(text))  # it begins with "{": an object or an error
    except orjson.JSONDecodeError as error:
        wrong = error
    try:
        loaded: object = yaml.safe_load(text)
        if isinstance(loaded, dict):
            return cast(dict[str, Any], orjson.loads(orjson.dumps(loaded)))  # a date is a text, as in JSON
        raise ValueError(f"it holds {type(loaded).__name__!r}, no object")
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({wrong}) and no YAML ({error})") from error


def keep_schema_order(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of a job with a schema that is written out in them as text; what can't be one is left alone."""
    request: object = job.get("request")
    schema = cast(dict[str, Any], request).get("response_schema") if isinstance(request, dict) else None
    if not isinstance(schema, dict):
        return job
    try:
        text = orjson.dumps(schema).decode()
    except TypeError:
        return job  # whoever checks the schema says why
    return {**job, "request": {**cast(dict[str, Any], request), "response_schema": text}}


def without_schema_text(request: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `request` with a text in `response_schema` read as the mapping that it stands for."""
    spec: object = request.get("response_schema")
    if not isinstance(spec, str) or not is_schema_text(spec):
        return dict(request)
    try:
        return {**request, "response_schema": parse_schema_text(spec)}
    except ValueError:
        return dict(request)
