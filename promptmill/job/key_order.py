"""Puts the keys of JSON objects into one order, independent of the order in which they arrive. Pure.

A Prefect server on PostgreSQL keeps a run's parameters as JSONB, which forgets the order of keys (shorter ones come
first; PostgreSQL 15 manual, 8.14, read 2026-11-25). So equal jobs reach a worker with their keys in another order than
the job file has. A request's identity is a digest of its bytes; hence this module sorts keys before anything is written.

Only in the `properties` of a JSON Schema does the order mean something: a model writes its answer in it. There the order
comes from something that JSONB keeps, an array: the `required` beside them, which strict mode demands complete.
Properties that `required` doesn't name follow, by name. A strict schema names all of its properties, so its own order
stays. The same rule holds for the parameters of tools inside `request.parameters`.
"""

from collections.abc import Mapping
from typing import Any, cast

import orjson
import yaml

from promptmill.documents import load_json_document, load_yaml


def canonical(value: Any) -> Any:
    """The same value with the keys of its objects sorted, except the properties of a JSON Schema.

    Raises: TypeError when an object has a key that isn't a string.
    """
    if isinstance(value, list):
        return [canonical(element) for element in cast(list[Any], value)]
    if not isinstance(value, dict):
        return value
    known = cast(dict[str, Any], value)
    return {key: _canonical_under(key, known) for key in sorted(known)}


def order_properties(properties: Mapping[str, Any], required: object) -> dict[str, Any]:
    """The properties in the order in which `required` names them, then the unnamed ones by name."""
    named = cast(list[object], required) if isinstance(required, list) else []
    first = [name for name in named if isinstance(name, str) and name in properties]
    return {name: properties[name] for name in dict.fromkeys([*first, *sorted(properties)])}


def _canonical_under(key: str, known: Mapping[str, Any]) -> Any:
    value = known[key]
    if key != "properties" or not isinstance(value, dict):
        return canonical(value)
    ordered = order_properties(cast(dict[str, Any], value), known.get("required"))
    return {name: canonical(schema) for name, schema in ordered.items()}


def is_schema_text(spec: object) -> bool:
    """Whether `response_schema` holds a schema as text, and not its path or class."""
    return isinstance(spec, str) and spec.lstrip().startswith("{")


def parse_schema_text(text: str) -> dict[str, Any]:
    """The schema in a text of JSON or YAML, its keys as written. Raises: ValueError when the text is neither."""
    try:
        return cast(dict[str, Any], load_json_document(text))  # a text that begins with "{" is an object or an error
    except ValueError as json_error:
        try:
            return _parse_yaml_object(text)
        except (yaml.YAMLError, TypeError) as yaml_error:
            raise ValueError(f"it isn't JSON ({json_error}) and isn't YAML ({yaml_error})") from yaml_error


def _parse_yaml_object(text: str) -> dict[str, Any]:
    loaded: object = load_yaml(text)
    if not isinstance(loaded, dict):
        raise TypeError(f"it holds {type(loaded).__name__!r}, not an object")
    return cast(dict[str, Any], orjson.loads(orjson.dumps(loaded)))  # a date is a text, as in JSON


def keep_schema_order(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of a job, with an inline schema as text, which keeps the order of its properties.

    A value that can't be a schema stays as it is.
    """
    request: object = job.get("request")
    schema = cast(dict[str, Any], request).get("response_schema") if isinstance(request, dict) else None
    if not isinstance(schema, dict):
        return job
    try:
        text = orjson.dumps(schema).decode()
    except TypeError:
        return job  # the check of the schema says why
    return {**job, "request": {**cast(dict[str, Any], request), "response_schema": text}}


def without_schema_text(request: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `request`, with a schema in text form parsed into a mapping."""
    spec: object = request.get("response_schema")
    if not isinstance(spec, str) or not is_schema_text(spec):
        return dict(request)
    try:
        return {**request, "response_schema": parse_schema_text(spec)}
    except ValueError:
        return dict(request)
