"""A response schema as a text of JSON or YAML: the one way to write it into a job that keeps its order everywhere.

A mapping loses the order of its keys on a server with PostgreSQL (key_order.py); a string can't. So a schema that is
written out in a job file becomes its text while the file is read, and a form takes the text itself. For what a job *is*
(its digest, what a standing output differs in) text and mapping are the same thing.
"""

from collections.abc import Mapping
from typing import Any, cast

import orjson
import yaml


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
