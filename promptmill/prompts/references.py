"""`$ref` inside a JSON Schema: what a reference to one of the schema's own definitions stands for. Pure."""

from collections.abc import Mapping

DEFINITIONS = "#/$defs/"


def as_definition(reference: str) -> str:
    """The reference in today's spelling: `#/definitions/name`, of older drafts, as `#/$defs/name`."""
    return reference.replace("#/definitions/", DEFINITIONS)


def resolve(reference: object, definitions: Mapping[str, object]) -> object | None:
    """The definition that `#/$defs/name` stands for; None for any other reference, and for a name that has none.

    It follows one reference only: what it returns may be a `$ref` again. `~1` in a name is a slash, `~0` a tilde.
    """
    text = as_definition(reference) if isinstance(reference, str) else ""
    if not text.startswith(DEFINITIONS):
        return None
    return definitions.get(text.removeprefix(DEFINITIONS).replace("~1", "/").replace("~0", "~"))
