"""The columns of the output that say how sure the model was: of which properties, and their values."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
import pyarrow as pa

from promptmill.prompts.references import resolve

_PROPERTY = b"promptmill.confidence"  # metadata of a column: the property whose probability it holds


def confidence_fields(columns: Mapping[str, str]) -> list[pa.Field]:
    """The fields of these columns; each remembers its property."""
    return [pa.field(name, pa.float64(), metadata={_PROPERTY: of.encode()}) for name, of in columns.items()]


def confidences(answers: pa.Table, fields: Sequence[pa.Field]) -> list[list[float | None]]:
    """The values of those of the fields that `confidence_fields` made, in their order."""
    wanted = [of.decode() for field in fields if (of := (field.metadata or {}).get(_PROPERTY)) is not None]
    if not wanted:
        return []
    texts = cast(list[str | None], answers["confidence"].to_pylist())
    told = [{} if text is None else cast(dict[str, float | None], orjson.loads(text)) for text in texts]
    return [[known.get(of) for known in told] for of in wanted]


def is_confidence(field: pa.Field) -> bool:
    """Whether `confidence_fields` made the field."""
    return _PROPERTY in (field.metadata or {})


def is_scalar(schema: Any, definitions: Mapping[str, Any]) -> bool:
    """Whether a schema allows only texts, booleans, the values of an enumeration, and null."""
    if "$ref" in schema:
        return is_scalar(resolve(schema["$ref"], definitions) or {}, {})
    if "anyOf" in schema:
        return all(is_scalar(branch, definitions) or branch.get("type") == "null" for branch in schema["anyOf"])
    kinds = schema.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    return "enum" in schema or (kinds - {"null"} != set() and kinds <= {"string", "boolean", "null"})
