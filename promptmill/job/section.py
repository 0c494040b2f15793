"""What all parts of a job have in common: an unknown key is an error that names the nearest one."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from promptmill.job.form import shape_section
from promptmill.suggest import did_you_mean


class Section(BaseModel):
    """A part of the job that refuses keys it doesn't know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, json_schema_extra=shape_section)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in value:  # pyright: ignore[reportUnknownVariableType]
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}. {did_you_mean(str(key), cls.model_fields)}")  # pyright: ignore[reportUnknownArgumentType]
        return value  # pyright: ignore[reportUnknownVariableType]
