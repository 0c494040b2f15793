"""Checks whether `strict: true` accepts a JSON Schema.

The subset matters to clients: the provider refuses other schemas with 400, for every row of a run.
Rules: OpenAI's Structured Outputs guide, "Supported schemas", read 2026-11-24.
"""

from collections.abc import Iterator
from functools import lru_cache

from promptmill.simulator.errors import ApiError, invalid
from promptmill.simulator.wire import JsonObject, JsonValue, decode, encode

_REFUSED_KEYWORDS = (
    "allOf",
    "oneOf",
    "not",
    "dependentRequired",
    "dependentSchemas",
    "if",
    "then",
    "else",
    "patternProperties",
)


def require_strict(schema: JsonObject, name: str, param: str) -> None:
    """Raises ApiError 400 with the first violation, if there is one."""
    problem = _first_problem(encode(schema))
    if problem is not None:
        raise _refuse(f"Invalid schema for response_format '{name}': {problem}", param)


def _refuse(message: str, param: str) -> ApiError:
    if param == "response_format":
        return invalid(message, param=param)
    return invalid(message, param="text.format.schema", code="invalid_json_schema")


@lru_cache(maxsize=256)
def _first_problem(encoded: bytes) -> str | None:
    schema = decode(encoded)
    if not isinstance(schema, dict) or schema.get("type") != "object":
        kind = schema.get("type") if isinstance(schema, dict) else None
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
    return next(_problems(schema, ()), None)


def _problems(schema: JsonValue, path: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(schema, dict):
        yield f"In context={path}, schema must be an object."
        return
    where = f"In context={path}"
    yield from (f"{where}, '{word}' is not permitted." for word in _REFUSED_KEYWORDS if word in schema)
    if not schema.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
        yield f"{where}, schema must have a 'type' key."
    if schema.get("type") == "object" or "properties" in schema:
        yield from _object_problems(schema, where)
    for part, inner in _children(schema):
        yield from _problems(inner, (*path, *part))


def _object_problems(schema: JsonObject, where: str) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        yield f"{where}, 'additionalProperties' is required to be supplied and to be false."
    properties = schema.get("properties")
    names: list[str] = list(properties) if isinstance(properties, dict) else []
    required = schema.get("required")
    listed: list[JsonValue] = required if isinstance(required, list) else []
    rule = "'required' is required to be supplied and to be an array including every key in properties."
    for name in names:
        if name not in listed:
            yield f"{where}, {rule} Missing '{name}'."
    for name in listed:
        if name not in names:
            yield f"{where}, {rule} Extra required key '{name}' supplied."


def _children(schema: JsonObject) -> Iterator[tuple[tuple[str, ...], JsonValue]]:
    for group in ("properties", "$defs", "definitions"):
        members = schema.get(group)
        if isinstance(members, dict):
            yield from (((group, name), inner) for name, inner in members.items())
    if "items" in schema:
        yield ("items",), schema["items"]
    options = schema.get("anyOf")
    if isinstance(options, list):
        yield from ((("anyOf", str(index)), inner) for index, inner in enumerate(options))
