"""The columns of `output.partition_by`: which may be some, and what is looked at before anything is sent.

How many folders there will be must be known before a run spends money. So they are columns of the input, whose values the
plan sees, or properties of the answers of which the schema lists the values.
"""

from collections.abc import Mapping
from typing import Any, cast

from promptmill.dataset.dataset import Dataset
from promptmill.errors import JobError
from promptmill.hive_folders import folder_type
from promptmill.job.spec import Job
from promptmill.output.columns import column_names, output_schema
from promptmill.output.manifest import FolderColumn
from promptmill.output.partitioning import FolderCheck, refuse_long_folder
from promptmill.prompts.references import resolve
from promptmill.prompts.response_schema import ResponseSchema
from promptmill.suggest import did_you_mean


def folder_columns(job: Job, dataset: Dataset, schema: ResponseSchema | None) -> tuple[FolderColumn, ...]:
    """The columns that stand in the names of the output's folders, in the job's order."""
    properties, definitions = (schema.properties, schema.definitions) if schema is not None else ({}, {})
    written = output_schema(job, dataset, properties, definitions)[0]
    kinds = [(name, folder_type(written.field(name).type)) for name in job.output.partition_by]
    return tuple(FolderColumn(name, str(kind), name in dataset.carried) for name, kind in kinds)


def folder_check(job: Job, dataset: Dataset, schema: ResponseSchema | None) -> FolderCheck:
    """What looks at the values of all rows for their folders."""
    carried = [name for name in job.output.partition_by if name in dataset.carried]
    listed = _listed_values(job, dataset, schema)
    return FolderCheck(carried, [len(listed[name]) for name in job.output.partition_by if name not in carried])


def refuse_unfit_folders(job: Job, dataset: Dataset, schema: ResponseSchema | None) -> None:
    """Raises: JobError or DatasetError when a column of output.partition_by can't make folders."""
    listed = _listed_values(job, dataset, schema)
    known = [*dataset.carried, *listed]
    for name in job.output.partition_by:
        if name not in known:
            raise JobError(
                f"output.partition_by names {name!r}; folders are made by the values of a carried column of the input, or of a "
                f"property of response_schema that is an enumeration or a boolean, here {', '.join(known)}. "
                f"{did_you_mean(name, known)}"
            )
        if name not in listed and folder_type(dataset.schema.field(name).type) is None:
            raise JobError(
                f"output.partition_by names {name!r}, which is {dataset.schema.field(name).type}; folders hold texts, whole "
                "numbers, booleans and dates. Set input.types for the column, or partition by another one."
            )
        for value in listed.get(name, ()):
            refuse_long_folder(name, value)


def _listed_values(job: Job, dataset: Dataset, schema: ResponseSchema | None) -> dict[str, list[str | None]]:
    """Columns of the answers of which the schema lists the values → these values, null among them."""
    if schema is None:
        return {}
    names = column_names(job, dataset.carried, schema.properties).properties
    found = {
        names[name]: _values(inner, schema.definitions)
        for name, inner in schema.properties.items()
        if names[name] not in dataset.carried
    }
    return {name: [*values, None] for name, values in found.items() if values}


def _values(schema: object, definitions: Mapping[str, Any]) -> list[str]:
    """The values that a property can have beside null, as texts; empty where its schema doesn't list them."""
    known = cast(dict[str, Any], schema) if isinstance(schema, dict) else {}
    if "$ref" in known:
        return _values(resolve(known["$ref"], definitions), {})
    for keyword in ("anyOf", "oneOf"):
        branches = [branch for branch in known.get(keyword, []) if branch != {"type": "null"}]
        if branches:
            return _values(branches[0], definitions) if len(branches) == 1 else []
    values = [value for value in cast(list[object], known.get("enum", [])) if value is not None]
    if values and all(type(value) is type(values[0]) and isinstance(value, str | int) for value in values):
        return [_text(value) for value in values]
    kinds = known.get("type")
    return ["false", "true"] if kinds in ("boolean", ["boolean"], ["boolean", "null"]) else []


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
