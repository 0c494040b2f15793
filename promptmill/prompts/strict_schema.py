"""A JSON Schema → the form that OpenAI's strict mode takes, with a list of the changes. Pure.

Strict mode has no optional properties and no open objects. This module adds what the author left out, as the SDK does
for pydantic models (openai 3.54.0, `lib/_pydantic.py`). Where the author asked for what strict mode can't do, it raises
an error, because a guess would change what the answers mean.
Keywords that strict mode refuses: OpenAI's Structured Outputs guide, read 2026-11-24.

Models write properties in the order of the schema. Where the author's order is known, the strict form keeps it. A
mapping may have lost the order of its keys on the way here; then the order is that of `required` (key_order.py).
"""

from collections.abc import Mapping
from typing import Any, cast

from promptmill.errors import JobError
from promptmill.job.key_order import order_properties
from promptmill.prompts.patterns import Pattern
from promptmill.prompts.references import DEFINITIONS, as_definition, resolve
from promptmill.prompts.schema_size import MAX_OBJECTS, too_large

JsonSchema = dict[str, Any]

_REFUSED_KEYWORDS = (
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "contains",
    "$dynamicRef",
    "$recursiveRef",
)
_MAX_CHAIN = 100  # definitions that only refer to the next
_MEANINGLESS_KEYWORDS = ("$schema", "$id", "$comment", "$anchor", "$dynamicAnchor", "discriminator", "examples")


def to_strict(schema: Mapping[str, Any], *, is_ordered: bool = True) -> tuple[JsonSchema, list[str]]:
    """The strict form of a schema, and a sentence for each change to what its author said.

    An object that says nothing about other or optional properties gets `additionalProperties: false` and a complete
    `required`, without a sentence. In the strict form `required` names all properties, in their order.
    Set `is_ordered` when the properties still have the order in which their author wrote them.
    Raises: JobError when the schema has no strict form, or a `$ref` leads nowhere.
    """
    root = dict(schema)
    definitions = {**root.pop("definitions", {}), **root.pop("$defs", {})}
    maker = _StrictForm(definitions, is_ordered)
    strict = maker.make(root, "#")
    if strict.get("type") != "object":
        raise JobError(
            f"the response schema's top level has type {strict.get('type')!r}; it must be 'object', so that its "
            "properties can become columns (request.response_schema). Put what you ask for into a property of an "
            "object, and give the schema itself, not the response_format around it."
        )
    if definitions:
        strict["$defs"] = {name: maker.make(inner, f"{DEFINITIONS}{name}") for name, inner in definitions.items()}
    return strict, maker.changes


class _StrictForm:
    """Makes the strict form of each part of one schema, and notes what it changes."""

    def __init__(self, definitions: Mapping[str, JsonSchema], is_ordered: bool) -> None:
        self.changes: list[str] = []
        self._definitions = definitions
        self._is_ordered = is_ordered
        self._made = 0  # parts
        self._open: set[str] = set()  # definitions being copied in now; inside its own copy, a definition stays a $ref

    def make(self, schema: object, place: str) -> JsonSchema:
        """The strict form of the schema at a place."""
        self._made += 1
        if self._made > MAX_OBJECTS:
            raise too_large(f"has more than {MAX_OBJECTS:,} parts when each $ref beside other keys is copied in")
        if not isinstance(schema, dict):
            raise _not_strict(place, f"is {schema!r}, which allows anything or nothing", "Say which values it allows")
        copied: set[str] = {place} if place.startswith(DEFINITIONS) else set()
        node = self._merge(dict(cast(JsonSchema, schema)), place, copied)
        for keyword in _MEANINGLESS_KEYWORDS:
            node.pop(keyword, None)
        for keyword in _REFUSED_KEYWORDS:
            if keyword in node:
                raise _not_strict(
                    place, f"uses {keyword!r}", f"Write it without {keyword!r}, or put it into the prompt"
                )
        if "oneOf" in node:
            node["anyOf"] = node.pop("oneOf")
            self.changes.append(f"{place}: oneOf became anyOf")
        if "default" in node and node.pop("default") is not None:
            self.changes.append(f"{place}: its default was dropped, since the model gives every value")
        self._close(node, place)
        outer, self._open = self._open, self._open | copied
        self._descend(node, place)
        self._open = outer
        return node

    def _merge(self, node: JsonSchema, place: str, copied: set[str]) -> JsonSchema:
        """The node without `allOf`, and with nothing beside a `$ref`: it copies in what they refer to."""
        while len(node.get("allOf", [])) == 1 or self._must_be_copied(node, place):
            inner = node.pop("allOf")[0] if "allOf" in node else self._definition(node.pop("$ref"), place, copied)
            node = {**inner, **node}
        if "allOf" in node:
            raise _not_strict(place, "uses 'allOf'", "Write its parts as one schema")
        return self._keep_reference(node, place) if "$ref" in node else node

    def _must_be_copied(self, node: JsonSchema, place: str) -> bool:
        reference = as_definition(str(node.get("$ref", "#")))
        return reference != "#" and reference not in self._open and (len(node) > 1 or place == "#")

    def _keep_reference(self, node: JsonSchema, place: str) -> JsonSchema:
        """The `$ref` alone, after following it to its end. Raises: JobError when it leads nowhere."""
        target, seen = node, set[str]()
        while "$ref" in target and target["$ref"] != "#":
            target = self._definition(target["$ref"], place, seen)
        return {"$ref": as_definition(node["$ref"])}

    def _definition(self, reference: object, place: str, seen: set[str]) -> JsonSchema:
        """What a `$ref` stands for. Raises: JobError when that isn't in the schema itself, or only refers to itself."""
        text = as_definition(str(reference))
        target = resolve(text, self._definitions)
        if not isinstance(target, dict) or text in seen:
            fault = "in a circle" if text in seen else "nowhere"
            known = ", ".join(self._definitions) or "there are none"
            raise JobError(
                f"the response schema's $ref {reference!r} at {place} leads {fault}; it may name one of the schema's "
                f"own $defs ({known}), and is never fetched (request.response_schema). Put the definition into $defs."
            )
        if len(seen) >= _MAX_CHAIN:
            raise too_large(f"has a $ref at {place} that leads through more than {_MAX_CHAIN} others")
        seen.add(text)
        return dict(cast(JsonSchema, target))

    def _close(self, node: JsonSchema, place: str) -> None:
        """Close an object, in place: no properties but its own, and all of them required."""
        kinds: object = node.get("type")
        if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds) and "properties" not in node:
            return
        node.setdefault("type", "object")
        if node.setdefault("additionalProperties", False) is not False:
            raise _not_strict(
                place,
                f"allows properties that it doesn't name (additionalProperties: {_kind(node['additionalProperties'])})",
                "Name them all, or ask for a list of objects that have a name and a value",
            )
        properties = node.setdefault("properties", {})
        named = frozenset(node.get("required", ()))
        missing = [name for name in properties if name not in named]
        if "required" in node and missing:
            self.changes.append(
                f"{place}: {', '.join(missing)} became required; allow null where a value may be missing"
            )
        if not properties:
            self.changes.append(f"{place}: an object without properties, so the answer can only be {{}}")
        if not self._is_ordered:
            properties = node["properties"] = self._restored(properties, node.get("required"), missing, place)
        node["required"] = list(properties)

    def _restored(self, properties: JsonSchema, required: object, unnamed: list[str], place: str) -> JsonSchema:
        """The properties in an order that doesn't depend on the order of a mapping's keys."""
        if unnamed and len(properties) > 1:
            self.changes.append(
                f"{place}: required doesn't name {', '.join(sorted(unnamed))}, so they come last, by name: an "
                "inline mapping has no order of its own; name all in the order you want, or give the schema as a text"
            )
        return order_properties(properties, required)

    def _descend(self, node: JsonSchema, place: str) -> None:
        if "properties" in node:
            node["properties"] = {
                name: self.make(inner, f"{place}/properties/{name}") for name, inner in node["properties"].items()
            }
        if "items" in node:
            node["items"] = self.make(node["items"], f"{place}/items")
        for keyword in ("anyOf", "prefixItems"):
            if keyword in node:
                node[keyword] = [self.make(branch, f"{place}/{keyword}/{i}") for i, branch in enumerate(node[keyword])]


def _kind(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else "a schema"


def _not_strict(place: str, what: str, remedy: str) -> JobError:
    return JobError(
        f"the response schema {what} at {place}; strict mode, in which the model must follow it, does not allow that "
        f"(request.response_schema). {remedy}."
    )


def without_look_ahead(schema: Mapping[str, Any]) -> tuple[JsonSchema, list[str]]:
    """A strict schema without the patterns that look ahead, which strict mode refuses, and a sentence for each."""
    changes: list[str] = []
    return _without_look_ahead(schema, "#", changes), changes


def _without_look_ahead(node: Mapping[str, Any], place: str, changes: list[str]) -> JsonSchema:
    copy: JsonSchema = dict(node)
    if isinstance(pattern := copy.get("pattern"), str) and Pattern(pattern, place).looks_ahead:
        del copy["pattern"]
        changes.append(
            f"{place}: its pattern looks ahead, so it isn't sent; answers are checked against it all the same"
        )
    for keyword in ("properties", "$defs"):
        if keyword in copy:
            inner = cast(Mapping[str, JsonSchema], copy[keyword]).items()
            copy[keyword] = {
                name: _without_look_ahead(value, f"{place}/{keyword}/{name}", changes) for name, value in inner
            }
    for keyword in ("anyOf", "prefixItems"):
        if keyword in copy:
            branches = enumerate(cast(list[JsonSchema], copy[keyword]))
            copy[keyword] = [_without_look_ahead(branch, f"{place}/{keyword}/{i}", changes) for i, branch in branches]
    if isinstance(copy.get("items"), dict):
        copy["items"] = _without_look_ahead(copy["items"], f"{place}/items", changes)
    return copy
