"""The columns of the output: their names, order and Arrow types, and the tables that hold them. Pure.

The types of a response schema's properties, and what becomes of a value that doesn't fit its type: arrow_types.py.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import orjson
import pyarrow as pa

from promptmill.checkpoints.answer_files import ANSWERS
from promptmill.job.spec import Job
from promptmill.output.arrow_types import parse_responses, schema_types
from promptmill.prompts.confidence import WHOLE
from promptmill.prompts.references import resolve

ROW_INDEX = pa.field("row_index", pa.int64())  # 0 = first row of the input; only if the job has no id column

_CONFIDENCE = b"promptmill.confidence"  # metadata of a column: the property whose probability it holds

# output column → column of the answers, in the output's order
_ANSWERED = ("custom_id", "model", "finish_reason", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd")
_ABOUT = ("latency_seconds", "attempts", "response_id", "reasoning_tokens", "usage_estimated")
SUCCESS_COLUMNS = {f"llm_{name}": name for name in (*_ANSWERED, *_ABOUT)}
FAILURE_COLUMNS = {
    "llm_custom_id": "custom_id",
    "llm_error_kind": "kind",
    "llm_error_message": "message",
    "llm_http_status": "http_status",
    "llm_attempts": "attempts",
    "response": "response",
}


class Rows(Protocol):
    """What this module needs of a dataset: its columns, and the names of those that go to the output, in order."""

    @property
    def schema(self) -> pa.Schema: ...
    @property
    def carried(self) -> Sequence[str]: ...


def output_schema(
    job: Job, dataset: Rows, properties: Mapping[str, Any], definitions: Mapping[str, Any]
) -> tuple[pa.Schema, pa.Schema]:
    """The schemas of parts and of failure parts: `row_index` without an id column, carried input columns, then ours.

    We drop the input's schema metadata (pandas, Hugging Face): it describes the input's columns, and the output has others.
    """
    carried = [*_row_index(job), *(dataset.schema.field(name) for name in dataset.carried)]
    answer = _answer_column(job)
    typed = schema_types(properties, definitions)
    sure = _confidence_fields(confidence_columns(job, properties, definitions))
    success = pa.schema([*carried, *_answer_fields({answer: answer}), *typed, *_answer_fields(SUCCESS_COLUMNS), *sure])
    return success, failure_schema(success)


def failure_schema(success: pa.Schema) -> pa.Schema:
    """The schema of the failure parts that go with such parts: the same input columns, then those of a failure."""
    first_of_ours = next(at for at, name in enumerate(success.names) if name in ("response", "embedding"))
    return pa.schema([*list(success)[:first_of_ours], *_answer_fields(FAILURE_COLUMNS)])


def clashing_columns(
    job: Job, carried: Sequence[str], properties: Iterable[str], confidences: Iterable[str] = ()
) -> list[str]:
    """Names that the output would hold twice: carried input columns against ours, and properties against both."""
    inputs = [*(field.name for field in _row_index(job)), *carried]
    answers = [*inputs, _answer_column(job), *properties, *SUCCESS_COLUMNS, *confidences]
    counted = [Counter(answers), Counter([*inputs, *FAILURE_COLUMNS])]
    return list(dict.fromkeys(name for names in counted for name, times in names.items() if times > 1))


def success_columns(answers: pa.Table, fields: Sequence[pa.Field]) -> pa.Table:
    """Our columns of succeeded rows: `fields` are those of the output's schema that don't come from the input."""
    sources = {"response": "response", "embedding": "embedding", **SUCCESS_COLUMNS}
    told = {field.name: (field.metadata or {}).get(_CONFIDENCE) for field in fields}
    typed = pa.schema([field for field in fields if field.name not in sources and told[field.name] is None])
    parsed = parse_responses(answers["response"], typed)
    chances = _confidences(answers, fields)
    columns = [
        answers[sources[name]] if name in sources else parsed[name] if of is None else chances[name]
        for name, of in told.items()
    ]
    return pa.table(columns, schema=pa.schema(fields))


def _confidences(answers: pa.Table, fields: Sequence[pa.Field]) -> dict[str, list[float | None]]:
    """The values of the columns that say how sure the model was, by name."""
    wanted = {
        field.name: of.decode() for field in fields if (of := (field.metadata or {}).get(_CONFIDENCE)) is not None
    }
    if not wanted:
        return {}
    texts = cast(list[str | None], answers["confidence"].to_pylist())
    told = [{} if text is None else cast(dict[str, float | None], orjson.loads(text)) for text in texts]
    return {name: [known.get(of) for known in told] for name, of in wanted.items()}


def failure_columns(answers: pa.Table) -> pa.Table:
    """Our columns of failed rows."""
    return answers.select(list(FAILURE_COLUMNS.values())).rename_columns(list(FAILURE_COLUMNS))


def confidence_columns(job: Job, properties: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, str]:
    """The columns that say how sure the model was → the property that each is about; "" is the whole answer."""
    if not job.request.wants_confidence:
        return {}
    sure = [name for name, schema in properties.items() if _is_scalar(schema, definitions)]
    return {"llm_confidence": WHOLE, **{f"{name}_confidence": name for name in sure}}


def _confidence_fields(columns: Mapping[str, str]) -> list[pa.Field]:
    return [pa.field(name, pa.float64(), metadata={_CONFIDENCE: of.encode()}) for name, of in columns.items()]


def _is_scalar(schema: Any, definitions: Mapping[str, Any]) -> bool:
    """Whether a schema allows only texts, booleans, the values of an enumeration, and null."""
    if "$ref" in schema:
        return _is_scalar(resolve(schema["$ref"], definitions) or {}, {})
    if "anyOf" in schema:
        return all(_is_scalar(branch, definitions) or branch.get("type") == "null" for branch in schema["anyOf"])
    kinds = schema.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    return "enum" in schema or (kinds - {"null"} != set() and kinds <= {"string", "boolean", "null"})


def _answer_column(job: Job) -> str:
    return "embedding" if job.request.endpoint == "embeddings" else "response"


def _answer_fields(sources: Mapping[str, str]) -> list[pa.Field]:
    return [pa.field(name, ANSWERS.field(source).type) for name, source in sources.items()]


def _row_index(job: Job) -> list[pa.Field]:
    return [ROW_INDEX] if job.input.id_column is None else []
