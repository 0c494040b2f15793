"""Bounds on a response schema, whose author may be a stranger to the worker that checks answers against it.

A schema of a few kilobytes can stand for one of any size: ten definitions that each refer twice to the next stand for
1,024 copies of the last, and columns and strict form hold such copies.
"""

from collections.abc import Mapping
from typing import Any, cast

import orjson

from promptmill.bounded_json import is_deeper_than
from promptmill.errors import JobError
from promptmill.prompts.references import resolve

_MAX_BYTES = 1 << 20  # as JSON; each request carries the schema
_MAX_DEPTH = 100  # levels of JSON, also where each $ref is followed; OpenAI takes 10 levels of objects
MAX_OBJECTS = 6_000  # JSON objects; OpenAI takes 5,000 properties (Structured Outputs guide, read 2026-11-26)


def require_small(schema: Mapping[str, Any]) -> None:
    """Raises: JobError when the schema as written is beyond a bound; TypeError when it can't be written as JSON."""
    if is_deeper_than(schema, _MAX_DEPTH):  # first of all: orjson refuses 254 levels in words of its own
        raise too_large(f"is nested deeper than {_MAX_DEPTH} levels, which is the limit")
    size = len(orjson.dumps(schema))
    if size > _MAX_BYTES:
        raise too_large(f"takes {size:,} bytes as JSON; the limit is {_MAX_BYTES:,}")
    count, left = 0, [cast(Any, schema)]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            count += 1
            left += cast(dict[str, Any], value).values()
        elif isinstance(value, list):
            left += cast(list[Any], value)
    if count > MAX_OBJECTS:
        raise too_large(f"holds {count:,} objects; the limit is {MAX_OBJECTS:,}")


def require_small_expanded(schema: Mapping[str, Any]) -> None:
    """Raises: JobError when the schema is beyond a bound once each $ref that doesn't lead back is replaced."""
    expansion = _Expansion(schema.get("$defs", {}))
    objects, depth = expansion.measure({name: inner for name, inner in schema.items() if name != "$defs"})
    if objects > MAX_OBJECTS:
        raise too_large(f"stands for {objects:,} objects when each $ref is followed; the limit is {MAX_OBJECTS:,}")
    if depth > _MAX_DEPTH:
        raise too_large(f"is {depth} levels deep when each $ref is followed; the limit is {_MAX_DEPTH}")


def too_large(fault: str) -> JobError:
    """The error of a schema that is beyond a bound."""
    return JobError(
        f"the response schema {fault} (request.response_schema). Ask for less in one answer, or write repeated parts as "
        "one list of objects."
    )


class _Expansion:
    """The size of values with each `$ref` followed; each definition is measured once."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._known: dict[str, tuple[int, int]] = {}

    def measure(self, value: Any) -> tuple[int, int]:
        """The objects that a value stands for, and its levels."""
        reference = cast(dict[str, Any], value).get("$ref") if isinstance(value, dict) else None
        if isinstance(reference, str):
            return self._measure_target(reference)
        if not isinstance(value, list | dict):
            return 0, 0
        inside = cast(dict[str, Any], value).values() if isinstance(value, dict) else cast(list[Any], value)
        sizes = [self.measure(inner) for inner in inside]
        objects = isinstance(value, dict) + sum(objects for objects, _ in sizes)
        return objects, 1 + max((depth for _, depth in sizes), default=0)

    def _measure_target(self, reference: str) -> tuple[int, int]:
        if reference not in self._known:
            self._known[reference] = (1, 1)  # what leads back to itself while it is measured stays a $ref
            self._known[reference] = self.measure(resolve(reference, self._definitions))
        return self._known[reference]
