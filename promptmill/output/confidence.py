"""The columns that say how sure the model was, where a job asks for log probabilities. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
import pyarrow as pa

from promptmill.job.spec import Job
from promptmill.prompts.confidence import WHOLE
from promptmill.prompts.references import resolve

_PROPERTY = b"promptmill.confidence"  # metadata of such a column: the property whose probability it holds


def confidence_fields(
    job: Job, columns: Mapping[str, str], properties: Mapping[str, Any], definitions: Mapping[str, Any]
) -> list[pa.Field]:
    """A column for the whole answer, then one for each property that is an enumeration, a boolean or a text.

    `columns` are those of the properties, by property.
    """
    if not job.request.wants_confidence:
        return []
    sure = [name for name, schema in properties.items() if _is_scalar(schema, definitions)]
    named = {f"{job.output.meta_prefix}confidence": WHOLE, **{f"{columns[name]}_confidence": name for name in sure}}
    return [pa.field(column, pa.float64(), metadata={_PROPERTY: name.encode()}) for column, name in named.items()]


def confidence_values(answers: pa.Table, fields: Sequence[pa.Field]) -> list[list[float | None]]:
    """The values of these columns, in their order."""
    if not fields:
        return []
    texts = cast(list[str | None], answers["confidence"].to_pylist())
    told = [{} if text is None else cast(dict[str, float | None], orjson.loads(text)) for text in texts]
    names = [(field.metadata or {})[_PROPERTY].decode() for field in fields]
    return [[known.get(name) for known in told] for name in names]


def _is_scalar(schema: Any, definitions: Mapping[str, Any]) -> bool:
    """Whether a schema allows only texts, booleans, the values of an enumeration, and null."""
    if "$ref" in schema:
        return _is_scalar(resolve(schema["$ref"], definitions) or {}, {})
    if "anyOf" in schema:
        return all(_is_scalar(branch, definitions) or branch.get("type") == "null" for branch in schema["anyOf"])
    kinds = schema.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    return "enum" in schema or (kinds - {"null"} != set() and kinds <= {"string", "boolean", "null"})
