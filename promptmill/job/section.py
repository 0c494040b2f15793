"""The base class of a job's parts: an unknown key is an error that says where it belongs, or names the nearest key."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from promptmill.job.elsewhere import where_it_belongs
from promptmill.job.form import shape_section


class Section(BaseModel):
    """A part of the job that refuses keys it doesn't know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, json_schema_extra=shape_section)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in value:  # pyright: ignore[reportUnknownVariableType]
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}. {where_it_belongs(str(key), cls.model_fields)}")  # pyright: ignore[reportUnknownArgumentType]
        return value  # pyright: ignore[reportUnknownVariableType]
