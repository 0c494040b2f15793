"""JSON Schema → Arrow types, and raw answers → values of these types. Pure.

A response schema may say what Arrow can't: unions, free objects, trees. Such a value becomes a string of JSON, whole and
at the deepest place where that is needed, so that a column's type follows from the schema alone, never from the answers.
Answers were validated before. A value that still doesn't fit its type (an integer beyond 64 bits, say) becomes null:
publishing what was paid for must not fail on one row, and `response` keeps the raw text.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, cast

import orjson
import pyarrow as pa

from promptmill.arrow import MAX_LEVELS, levels_of
from promptmill.output.parsed_answers import ParsedAnswers
from promptmill.prompts.references import resolve

_JsonSchema = Mapping[str, Any]
JSON_TEXT = {b"promptmill.json": b"1"}  # metadata of a string field that holds JSON
_INT64_END = 2**63
_SCALARS = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
_PYTHON: dict[int, type] = {
    kind.id: python
    for kind, python in (
        (pa.string(), str),
        (pa.int64(), int),
        (pa.float64(), float),
        (pa.bool_(), bool),
        (pa.list_(pa.null()), list),
        (pa.struct([]), dict),
    )
}  # what a JSON parser gives for an Arrow type
_KINDS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def schema_types(properties: Mapping[str, Any], definitions: Mapping[str, Any]) -> pa.Schema:
    """A nullable field for each top-level property of a response schema; `$ref` is looked up in `definitions`.

    Dates stay strings: what a model calls a date-time often isn't one. An object that says it is open
    (`additionalProperties` true or a schema) is JSON, since a struct would lose what it doesn't name.
    """
    return pa.schema([_column(name, schema, definitions) for name, schema in properties.items()])


def _column(name: str, schema: object, definitions: Mapping[str, Any]) -> pa.Field:
    field = _field(name, schema, definitions)
    return _json_field(name) if levels_of(field.type) > MAX_LEVELS else field


def _field(name: str, schema: object, definitions: Mapping[str, Any]) -> pa.Field:
    found = _arrow_type(_mapping(schema), definitions)
    return _json_field(name) if found is None else pa.field(name, found)


def _json_field(name: str) -> pa.Field:
    return pa.field(name, pa.string(), metadata=JSON_TEXT)


def _arrow_type(schema: _JsonSchema, definitions: Mapping[str, Any]) -> pa.DataType | None:
    """The type of a schema's values; None if only JSON can hold them."""
    if "$ref" in schema:
        target = _mapping(resolve(schema["$ref"], definitions))
        return None if _is_recursive(schema["$ref"], definitions) else _arrow_type(target, definitions)
    if len(schema.get("allOf", [])) == 1:
        return _arrow_type(schema["allOf"][0], definitions)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            branches = [_mapping(branch) for branch in schema[keyword]]
            return _common_type([_arrow_type(branch, definitions) for branch in branches if _kinds(branch) != {"null"}])
    kinds = _kinds(schema)
    if not kinds or "allOf" in schema:
        return None
    if kinds - {"null"} == {"object"}:
        return _struct_type(schema, definitions)
    if kinds - {"null"} == {"array"}:
        return None if "prefixItems" in schema else pa.list_(_field("element", schema.get("items"), definitions))
    return _common_type([_SCALARS.get(kind) for kind in kinds - {"null"}])


def _kinds(schema: _JsonSchema) -> set[str]:
    """The JSON types that a schema allows; empty when it doesn't say."""
    if "type" in schema:
        return {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
    for keyword, kind in (("properties", "object"), ("items", "array"), ("prefixItems", "array")):
        if keyword in schema:
            return {kind}
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    return {_KINDS.get(type(value), "other") for value in values}


def _common_type(types: Sequence[pa.DataType | None]) -> pa.DataType | None:
    """The one type that holds the values of all of these, None if only JSON can; a string if there are none: nulls fit any."""
    first = types[0] if types else pa.string()
    if first is None or None in types:
        return None
    if all(first.equals(other, check_metadata=True) for other in types):
        return first
    return pa.float64() if all(other in (pa.int64(), pa.float64()) for other in types) else None


def _struct_type(schema: _JsonSchema, definitions: Mapping[str, Any]) -> pa.DataType | None:
    properties = schema.get("properties")
    if not properties or schema.get("additionalProperties"):
        return None
    return pa.struct([_field(name, inner, definitions) for name, inner in properties.items()])


def _mapping(schema: object) -> _JsonSchema:
    """The schema as a mapping; an empty one if it is `true` or missing."""
    return cast(_JsonSchema, schema) if isinstance(schema, Mapping) else {}


def _is_recursive(reference: str, definitions: Mapping[str, Any]) -> bool:
    """Whether a definition leads back to itself."""
    seen: set[str] = set()
    left = [reference]
    while left:
        inner = set(_references(_mapping(resolve(left.pop(), definitions)))) - seen
        seen |= inner
        left += inner
    return reference in seen


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        known = cast(_JsonSchema, schema)
        yield from [known["$ref"]] if isinstance(known.get("$ref"), str) else []
        schema = list(known.values())
    for inner in cast(list[object], schema) if isinstance(schema, list) else []:
        yield from _references(inner)


def parse_responses(responses: pa.ChunkedArray | Sequence[str | None] | ParsedAnswers, types: pa.Schema) -> pa.Table:
    """Typed columns of raw answers, one row each; a value that is missing, unreadable or of another type is null.

    3.0 is an integer and 3 a number; a string is never taken for a number, nor a boolean for one.
    """
    parsed = responses if isinstance(responses, ParsedAnswers) else ParsedAnswers(responses)
    return pa.table([_typed(parsed.values(field.name), field) for field in types], schema=types)


def _typed(values: list[Any], field: pa.Field) -> pa.Array:
    """The values as an array; most columns fit as they are, and nothing is done value by value then."""
    if not _fit(values, field):
        convert = converter(field)
        values = [convert(value) for value in values]
    return pa.array(values, field.type)


def _fit(values: list[Any], field: pa.Field) -> bool:
    """Whether Arrow takes all of these values for the field just as its converter would give them."""
    kinds = {*map(type, values)} - {type(None)}
    if not kinds:
        return True
    if (field.metadata or {}).keys() & JSON_TEXT.keys() or kinds != {_PYTHON.get(field.type.id)}:
        return False
    if pa.types.is_struct(field.type):
        objects = [value for value in values if value is not None]
        return all(_fit([value.get(child.name) for value in objects], child) for child in field.type)
    if pa.types.is_list(field.type):
        return _fit([*chain.from_iterable(value for value in values if value is not None)], field.type.value_field)
    return field.type != pa.int64() or _in_64_bits([value for value in values if value is not None])


def _in_64_bits(values: list[int]) -> bool:
    return min(values) >= -_INT64_END and max(values) < _INT64_END


def converter(field: pa.Field) -> Callable[[Any], Any]:
    """From a parsed JSON value to one that fits the field, or None."""
    if (field.metadata or {}).keys() & JSON_TEXT.keys():
        return _to_json
    if pa.types.is_struct(field.type):
        inner = {child.name: converter(child) for child in field.type}
        return lambda v: (
            {name: fit(cast(dict[str, Any], v).get(name)) for name, fit in inner.items()}
            if isinstance(v, dict)
            else None
        )
    if pa.types.is_list(field.type):
        fit = converter(field.type.value_field)
        return lambda v: [fit(element) for element in cast(list[Any], v)] if isinstance(v, list) else None
    return {pa.int64(): _to_integer, pa.float64(): _to_number, pa.bool_(): _to_boolean}.get(field.type, _to_string)


def _to_string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _to_integer(value: object) -> int | None:
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return whole if type(whole) is int and -_INT64_END <= whole < _INT64_END else None


def _to_number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _to_boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _to_json(value: object) -> str | None:
    try:
        return None if value is None else orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested deeper than the 254 levels that orjson writes
        return None
