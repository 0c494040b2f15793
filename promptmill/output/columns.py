"""The columns of the output: their names, order and Arrow types, and the tables that hold them. Pure.

The types of a response schema's properties, and what becomes of a value that doesn't fit its type: arrow_types.py.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ANSWERS
from promptmill.job.spec import Job
from promptmill.output.arrow_types import parse_responses, schema_types
from promptmill.output.confidences import confidence_fields, confidences, is_confidence, is_scalar
from promptmill.output.parsed_answers import ParsedAnswers
from promptmill.prompts.confidence import WHOLE

_ROW_INDEX = pa.field("row_index", pa.int64())  # 0 = first row of the input; only if the job has no id column

# columns of the answers, in the output's order; the job says what stands before their names
_ANSWERED = ("custom_id", "model", "finish_reason", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd")
_ABOUT = ("latency_seconds", "attempts", "response_id", "reasoning_tokens", "usage_estimated", "answered_by")
_OF_FAILURES = {
    "custom_id": "custom_id",
    "error_kind": "kind",
    "error_message": "message",
    "http_status": "http_status",
    "attempts": "attempts",
}
_AFTER_REFUSED = "answered_by"
_CONFIDENCE = "confidence"
_COMPARED_PREFIX = "answer_"  # of a property whose right answers the input has under the same name


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """What the output calls the columns that don't come from the input."""

    row_index: str
    answer: str  # of a part
    refused: str  # of a failure part: an answer that wasn't accepted
    meta_prefix: str
    properties: Mapping[str, str]  # property of response_schema → its column

    @property
    def success(self) -> dict[str, str]:
        """Output column → column of the answers, for what we add to a succeeded row."""
        return {f"{self.meta_prefix}{name}": name for name in (*_ANSWERED, *_ABOUT)}

    @property
    def failure_pairs(self) -> list[tuple[str, str]]:
        """Output column and column of the answers, for a failed row."""
        named = [(f"{self.meta_prefix}{name}", source) for name, source in _OF_FAILURES.items()]
        return [*named, (self.refused, "response"), (f"{self.meta_prefix}{_AFTER_REFUSED}", _AFTER_REFUSED)]

    @property
    def failure(self) -> dict[str, str]:
        """Output column → column of the answers, for a failed row."""
        return dict(self.failure_pairs)

    @property
    def renamed(self) -> dict[str, str]:
        """Properties whose column has another name because the input has theirs."""
        return {name: column for name, column in self.properties.items() if column == f"{_COMPARED_PREFIX}{name}"}

    @property
    def confidence(self) -> str:
        """The column that says how sure the model was of its whole answer."""
        return f"{self.meta_prefix}{_CONFIDENCE}"

    def confidence_of(self, name: str) -> str:
        """The column that says how sure the model was of a property."""
        return f"{self.properties[name]}_{_CONFIDENCE}"

    def property_of(self, column: str) -> str:
        """The property that a column holds, which may be named by itself too."""
        return next((name for name, known in self.properties.items() if known == column), column)

    def setting_of(self, column: str) -> str | None:
        """The job's key that gives a column of ours another name; None for a column of the input."""
        if column == self.row_index:
            return "output.row_index_column"
        if column in (self.answer, self.refused):
            return "output.response_column"
        if column in self.success or column in self.failure or column == self.confidence:
            return "output.meta_prefix"
        is_property = (
            column in self.properties.values() or column.removesuffix(f"_{_CONFIDENCE}") in self.properties.values()
        )
        return "output.answer_prefix" if is_property else None


def column_names(job: Job, carried: Sequence[str] = (), properties: Iterable[str] = ()) -> ColumnNames:
    """The names of our columns; `carried` and `properties` are the input's columns and the response schema's properties."""
    output, compared = job.output, job.output.compare or {}
    found = {
        name: f"{_COMPARED_PREFIX}{name}"
        if not output.answer_prefix and name in carried and compared.get(name) == name
        else f"{output.answer_prefix}{name}"
        for name in properties
    }
    return _names(job.request.endpoint, output.model_dump(), found)


def names_in_manifest(job: Mapping[str, Any]) -> ColumnNames:
    """The names of our columns in the output of a manifest's job, but for those of the properties."""
    return _names(str(job.get("request", {}).get("endpoint")), job.get("output", {}), {})


def _names(endpoint: str, output: Mapping[str, Any], properties: Mapping[str, str]) -> ColumnNames:
    given = output.get("response_column")
    return ColumnNames(
        row_index=output.get("row_index_column", _ROW_INDEX.name),
        answer=given if given is not None else "embedding" if endpoint == "embeddings" else "response",
        refused=given if given is not None else "response",
        meta_prefix=output.get("meta_prefix", "llm_"),
        properties=properties,
    )


_DEFAULT = _names("", {}, {})
SUCCESS_COLUMNS = _DEFAULT.success  # by their default names
FAILURE_COLUMNS = _DEFAULT.failure


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
    names = column_names(job, dataset.carried, properties)
    carried = [*_row_index(job), *(dataset.schema.field(name) for name in dataset.carried)]
    source = "embedding" if job.request.endpoint == "embeddings" else "response"
    typed = [field.with_name(names.properties[field.name]) for field in schema_types(properties, definitions)]
    ours = [*_answer_fields({names.answer: source}), *typed, *_answer_fields(names.success)]
    sure = confidence_fields(confidence_columns(job, names, properties, definitions))
    return pa.schema([*carried, *ours, *sure]), pa.schema([*carried, *_answer_fields(names.failure)])


def failure_schema(success: pa.Schema, names: ColumnNames) -> pa.Schema:
    """The schema of the failure parts that go with such parts: the same input columns, then those of a failure."""
    first_of_ours = success.names.index(names.answer)
    return pa.schema([*list(success)[:first_of_ours], *_answer_fields(names.failure)])


def clashing_columns(
    job: Job, carried: Sequence[str], properties: Iterable[str], confidences: Iterable[str] = ()
) -> list[str]:
    """Names that the output would hold twice: carried input columns against ours, and properties against both."""
    names = column_names(job, carried, properties)
    inputs = [*(field.name for field in _row_index(job)), *carried]
    answers = [*inputs, names.answer, *names.properties.values(), *names.success, *confidences]
    counted = [Counter(answers), Counter([*inputs, *(name for name, _ in names.failure_pairs)])]
    return list(dict.fromkeys(name for found in counted for name, times in found.items() if times > 1))


def typed_names(fields: Sequence[pa.Field]) -> list[str]:
    """The columns of the schema's properties; `fields` are those of the output's schema that don't come from the input."""
    others = [field for field in fields if not is_confidence(field)]
    return [field.name for field in others[1 : len(others) - len(_DEFAULT.success)]]


def success_columns(
    answers: pa.Table, fields: Sequence[pa.Field], properties: Sequence[str], parsed: ParsedAnswers | None = None
) -> pa.Table:
    """Our columns of succeeded rows: `fields` are those of the output's schema that don't come from the input.

    The first is the answer; then comes a field for each of the properties, then what we add. `parsed` are the answers'
    responses, where they are parsed already.
    """
    count = len(properties)
    typed = pa.schema([field.with_name(name) for field, name in zip(fields[1 : 1 + count], properties, strict=True)])
    answer = answers["embedding" if pa.types.is_list(fields[0].type) else "response"]
    added = [_of(answers, source) for source in _DEFAULT.success.values()]
    sure = confidences(answers, fields)
    columns = [
        answer,
        *parse_responses(answers["response"] if parsed is None else parsed, typed).columns,
        *added,
        *sure,
    ]
    return pa.table(columns, schema=pa.schema(fields))


def failure_columns(answers: pa.Table, fields: Sequence[pa.Field]) -> pa.Table:
    """Our columns of failed rows: `fields` are those of the output's schema that don't come from the input."""
    return pa.table([_of(answers, source) for source in _DEFAULT.failure.values()], schema=pa.schema(fields))


def _of(answers: pa.Table, source: str) -> pa.ChunkedArray:
    """A column of the answers; a row that a cache answered was answered by the row that paid then."""
    column = answers[source]
    return pc.coalesce(column, answers["cached_from"]) if source == "answered_by" else column


def confidence_columns(
    job: Job, names: ColumnNames, properties: Mapping[str, Any], definitions: Mapping[str, Any]
) -> dict[str, str]:
    """The columns that say how sure the model was → the property that each is about; "" is the whole answer."""
    if not job.request.wants_confidence:
        return {}
    sure = [name for name, schema in properties.items() if is_scalar(schema, definitions)]
    return {names.confidence: WHOLE, **{names.confidence_of(name): name for name in sure}}


def _answer_fields(sources: Mapping[str, str]) -> list[pa.Field]:
    return [pa.field(name, ANSWERS.field(source).type) for name, source in sources.items()]


def _row_index(job: Job) -> list[pa.Field]:
    return [_ROW_INDEX.with_name(job.output.row_index_column)] if job.input.id_column is None else []
