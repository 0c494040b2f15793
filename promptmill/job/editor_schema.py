"""Makes the job's JSON Schema for editors, which complete keys and underline mistakes while a person types.

The form's schema (form.py) fits what the Prefect UI can show, and allows no null, for example. A job file may have null, so
this is the plain schema of the model.
"""

from typing import Any

from pydantic import ConfigDict
from pydantic.json_schema import GenerateJsonSchema

from promptmill.job.spec import Job

_DIALECT = "http://json-schema.org/draft-07/schema#"  # the newest draft that yaml-language-server supports


class _PlainSchema(GenerateJsonSchema):
    """The model's schema without the changes for a form."""

    def _update_class_schema(self, json_schema: dict[str, Any], cls: type[Any], config: ConfigDict) -> None:
        plain: Any = {name: value for name, value in config.items() if name != "json_schema_extra"}
        super()._update_class_schema(json_schema, cls, plain)


def editor_schema() -> dict[str, Any]:
    """The JSON Schema of a job file: every key with its description, default and bounds, and no other key."""
    schema = Job.model_json_schema(schema_generator=_PlainSchema)
    return {"$schema": _DIALECT, **_in_old_words(schema)}


def _in_old_words(node: Any) -> Any:
    """The schema with `definitions` instead of `$defs`, as this draft has it, and without the fields' titles."""
    if isinstance(node, list):
        return [_in_old_words(inner) for inner in node]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(node, dict):
        return node.replace("#/$defs/", "#/definitions/") if isinstance(node, str) else node
    found: dict[str, Any] = node  # pyright: ignore[reportUnknownVariableType]
    return {
        "definitions" if name == "$defs" else name: _in_old_words(inner)
        for name, inner in found.items()
        if not (name == "title" and isinstance(inner, str))
    }
