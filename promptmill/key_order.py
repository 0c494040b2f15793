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
