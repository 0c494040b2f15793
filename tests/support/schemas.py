"""A response schema, and a look inside schemas."""

from typing import Any

LABEL = {
    "type": "object",
    "title": "Label of a review!",
    "properties": {"reason": {"type": "string"}, "label": {"enum": ["good", "bad"]}},
}


def objects_of(schema: Any) -> list[dict[str, Any]]:
    """Every object schema inside a schema."""
    if isinstance(schema, list):
        return [one for inner in schema for one in objects_of(inner)]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(schema, dict):
        return []
    own: list[dict[str, Any]] = [schema] if schema.get("type") == "object" else []  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return own + [one for inner in schema.values() for one in objects_of(inner)]  # pyright: ignore[reportUnknownVariableType]
