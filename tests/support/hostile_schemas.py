"""Response schemas and answers that would hold a process or fill its memory, each with a word of the error it ends in."""

import json
from collections.abc import Callable
from typing import Any

from promptmill.errors import PromptmillError
from promptmill.output.arrow_types import schema_types
from promptmill.prompts.response_schema import ResponseSchema, load_schema


def _object(inner: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": inner}, **more}


def _strings(pattern: str) -> dict[str, Any]:
    return _object({"type": "array", "items": {"type": "string", "pattern": pattern}})


def _doubling(levels: int, **beside: Any) -> dict[str, Any]:
    """Each definition refers twice to the next."""
    definitions: dict[str, Any] = {f"d{levels}": {"type": "string"}}
    for level in range(levels):
        twice = {name: {"$ref": f"#/$defs/d{level + 1}", **beside} for name in "ab"}
        definitions[f"d{level}"] = {"type": "object", "properties": twice}
    return _object({"$ref": "#/$defs/d0"}, **{"$defs": definitions})


def _chain(length: int, **beside: Any) -> dict[str, Any]:
    definitions = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}", **beside} for i in range(length)}
    return _object({"$ref": "#/$defs/d0"}, **{"$defs": {**definitions, f"d{length}": {"type": "string"}}})


def _nested_chain(length: int) -> dict[str, Any]:
    definitions = {f"d{i}": {"type": "array", "items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(length)}
    return _object({"$ref": "#/$defs/d0"}, **{"$defs": {**definitions, f"d{length}": {"type": "string"}}})


def _all_to_all(count: int, **beside: Any) -> dict[str, Any]:
    others = {f"p{i}": {"$ref": f"#/$defs/d{i}", **beside} for i in range(count)}
    return _object({"$ref": "#/$defs/d0"}, **{"$defs": {f"d{i}": _object({}, properties=others) for i in range(count)}})


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = _object(schema)
    return schema


_TREE = {"anyOf": [_object({"$ref": "#/$defs/t"}), _object({"$ref": "#/$defs/t"}), {"type": "string"}]}
_LOOP = {"anyOf": [{"$ref": "#/$defs/t"}, {"type": "string"}]}
_WIDE = {"anyOf": [{"type": "array", "items": {"enum": [i]}} for i in range(1_000)]}

SCHEMAS: dict[str, tuple[Callable[[], Any], str]] = {  # refused before anything is sent
    "pattern-look-ahead": (lambda: _strings("b(?=a)b"), "RE2"),
    "pattern-back-reference": (lambda: _strings(r"^(a+)\1$"), "RE2"),
    "pattern-nested-counts": (lambda: _strings("(((a{1,1000}){1,1000}){1,1000}){1,1000}"), "RE2"),
    "pattern-categories": (lambda: _strings(r"(\p{L}\p{N}){500}"), "weight"),
    "pattern-long": (lambda: _strings("a" * 1_000_000), "characters"),
    "pattern-open-groups": (lambda: _strings("(" * 1_000), "RE2"),
    "patterns-many": (
        lambda: {"type": "object", "properties": {f"p{i}": {"pattern": f"{i}.{{1,999}}"} for i in range(4_000)}},
        "patterns",
    ),
    "pattern-properties": (lambda: _object({"type": "object", "patternProperties": {"(a+)+$": {}}}), "patternProp"),
    "property-names": (lambda: _object({"type": "object", "propertyNames": {"pattern": "(a+)+$"}}), "propertyNames"),
    "references-doubling": (lambda: _doubling(60), "$ref"),
    "references-doubling-with-a-title": (lambda: _doubling(60, description="d"), "$ref"),
    "references-in-a-chain": (lambda: _chain(3_000), "$ref"),
    "references-in-a-chain-with-a-title": (lambda: _chain(3_000, description="d"), "$ref"),
    "references-to-the-next-inside": (lambda: _nested_chain(2_900), "$ref"),
    "references-all-to-all": (lambda: _all_to_all(70, description="d"), "$ref"),
    "properties-many": (lambda: {"type": "object", "properties": {f"p{i}": {} for i in range(200_000)}}, "limit"),
    "branches-many": (lambda: _object({"anyOf": [{"const": i} for i in range(100_000)]}), "limit"),
    "enum-long": (lambda: _object({"enum": list(range(2_000_000))}), "limit"),
    "nested-deep": (lambda: _deep(200), "levels"),
    "nested-900-deep": (lambda: json.dumps(_deep(450)), "levels"),
    "nested-100000-deep": (lambda: '{"type":"object","properties":' + '{"a":' * 100_000 + "1" + "}" * 100_001, ""),
    "yaml-aliases": (
        lambda: (
            "{x0: &x0 [1],"
            + "".join(f"x{i + 1}: &x{i + 1} [*x{i}, *x{i}]," for i in range(60))
            + "type: object, properties: {a: {enum: *x60}}}"
        ),
        "",
    ),
}

ANSWERS: dict[str, tuple[Any, Callable[[], str], str]] = {  # schema, answer, a word of the row's reason
    "pattern-that-backtracks": (_object({"pattern": "^(a+)+$"}), lambda: json.dumps({"a": "a" * 60 + "!"}), "match"),
    "pattern-over-a-long-text": (
        _object({"pattern": "(.{1,30}){1,30}c"}),
        lambda: json.dumps({"a": "ab" * 4_000_000}),
        "work",
    ),
    "pattern-over-many-texts": (_strings("^b?$"), lambda: json.dumps({"a": [""] * 300_000}), "work"),
    "pattern-compiled-often": (_strings(r"^\p{L}{0,40}$"), lambda: json.dumps({"a": [""] * 300_000}), "work"),
    "unique-numbers": (
        _object({"type": "array", "uniqueItems": True}),
        lambda: json.dumps({"a": [*range(500_000), 1]}),
        "work",
    ),
    "unique-lists-of-equal-hash": (
        _object({"type": "array", "uniqueItems": True}),
        lambda: json.dumps({"a": [[-1 - (n >> bit & 1) for bit in range(15)] for n in [*range(2**13), 0]]}),
        "unique",
    ),
    "enum-over-many": (
        _object({"type": "array", "items": {"enum": [f"v{i}" for i in range(20_000)]}}),
        lambda: json.dumps({"a": ["v19999"] * 300_000}),
        "work",
    ),
    "enum-of-long-lists": (
        _object({"enum": [[0] * 300_000, 1]}),
        lambda: json.dumps({"a": [0] * 299_999}),
        "work",
    ),
    "branches-nested": (
        _object({"$ref": "#/$defs/t"}, **{"$defs": {"t": _TREE}}),
        lambda: '{"a":' * 60 + "1" + "}" * 60,
        "work",
    ),
    "branches-of-itself": (
        _object({"$ref": "#/$defs/t"}, **{"$defs": {"t": _LOOP}}),
        lambda: '{"a":1}',
        "deep",
    ),
    "branches-that-quote": (_object(_WIDE), lambda: json.dumps({"a": ["x" * 10_000] * 1_000}), "any of"),
    "multiple-of-the-smallest": (
        _object({"type": "array", "items": {"multipleOf": 5e-324}}),
        lambda: json.dumps({"a": [1.7e308] * 300_000}),
        "work",
    ),
    "additional-properties": (
        _object({}),
        lambda: json.dumps({f"p{i}": i for i in range(400_000)}),
        "",
    ),
    "values-many": (_object({}), lambda: '{"a":[' + "[]," * 5_000_000 + "1]}", "values"),
    "nested-900-deep": (_object({}), lambda: '{"a":' + "[" * 900 + "]" * 900 + "}", "levels"),
    "nested-100000-deep": (_object({}), lambda: '{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "JSON"),
    "digits-many": (_object({"type": "string"}), lambda: '{"a":' + "9" * 5_000_000 + "}", ""),
}


def use_schema(name: str) -> None:
    """Raises: JobError, as the planning of a job does."""
    schema = load_schema(SCHEMAS[name][0]())
    schema_types(schema.properties, schema.definitions)


def judge_answer(name: str) -> None:
    """Raises: PromptmillError with the reason of the row that has this answer."""
    schema, answer, _ = ANSWERS[name]
    reason = ResponseSchema(schema).validate(answer())
    if reason is not None:
        raise PromptmillError(reason)
