"""The `input` of a job: where its rows come from, and how the files that hold them are read."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from promptmill.job.section import Section

TypeName = Literal["string", "int64", "double", "bool", "date", "timestamp"]
_Url = Annotated[str, Field(min_length=1)]
_LATER: dict[str, object] = {  # keys that an earlier version didn't have, with their defaults
    "types": None,
    "csv": None,
    "on_bad_row": "fail",
    "query": None,
}


class Csv(Section):
    """How CSV files are written. What is left out is found out from the files."""

    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="Between two fields: , ; | or a tab. Empty: found out."
    )
    quote: str | None = Field(
        default=None, max_length=1, description='Around a field that holds delimiters, such as ". Empty text: none.'
    )
    escape: str | None = Field(
        default=None,
        max_length=1,
        description="Before a quote that belongs to the text: a backslash. Empty text: none.",
    )
    encoding: str | None = Field(
        default=None, min_length=1, description="utf-8, utf-16, latin-1, windows-1252 and others."
    )
    header: bool | None = Field(
        default=None, description="Whether the first row names the columns; else column_1, column_2, …"
    )
    comment: str | None = Field(
        default=None, max_length=1, description="Lines that begin with it are left out, such as #. Empty text: none."
    )
    null_values: list[str] | None = Field(
        default=None, description="Fields that stand for a null. Default: the empty one."
    )

    @field_validator("delimiter", "quote", "escape", "comment")
    @classmethod
    def _require_ascii(cls, value: str | None) -> str | None:
        if value and (not value.isascii() or value in "\r\n\0"):
            raise ValueError(f"{value!r} can't be used; it is one ASCII character, and no line break")
        return value

    @field_validator("encoding")
    @classmethod
    def _require_known(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                "".encode(value)
        except (LookupError, UnicodeError) as error:
            raise ValueError(f"Python knows no encoding {value!r}; utf-8, latin-1 and windows-1252 are some") from error
        return value


class Input(Section):
    """Where the rows come from."""

    url: _Url | Annotated[list[_Url], Field(min_length=1)] = Field(
        description="File, directory or glob; any fsspec URL (s3://…, file, memory://); may have {{ date }}. A list of "
        "such URLs is read in its order.",
    )
    format: Literal["auto", "parquet", "csv", "jsonl", "excel"] = Field(
        default="auto",
        description="auto takes it from the suffix; .gz, .zst, .bz2, .xz and .lz4 are understood for CSV and JSONL.",
    )
    id_column: str | None = Field(
        default=None, description="A column that is unique for each row. Default: the row's number, added as row_index."
    )
    columns: list[str] | None = Field(default=None, description="Columns carried to the output. Default: all.")
    limit: int | None = Field(default=None, ge=1, description="Read only this many rows, from the first.")
    types: dict[str, TypeName] | None = Field(
        default=None,
        description="Types of columns: {column: string, int64, double, bool, date or timestamp}. Default: found out.",
    )
    csv: Csv | None = Field(default=None, description="How CSV files are written. Default: found out.")
    on_bad_row: Literal["fail", "skip"] = Field(
        default="fail",
        description="A line that isn't JSON, or a CSV row with too many or too few fields: fail refuses the input, skip "
        "makes the row a failure of kind unreadable_row.",
    )

    query: str | None = Field(
        default=None, min_length=1, description="A SELECT whose rows are read, where the URL is that of a database."
    )

    @field_validator("url")
    @classmethod
    def _unwrap(cls, value: str | list[str]) -> str | list[str]:
        """Turn a list of one URL into the URL: it means the same, so it has the same identity."""
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    @property
    def urls(self) -> tuple[str, ...]:
        """All URLs, in their order."""
        return (self.url,) if isinstance(self.url, str) else tuple(self.url)

    def with_urls(self, urls: Sequence[str]) -> "Input":
        """The same input at other URLs."""
        return self.model_copy(update={"url": urls[0] if len(urls) == 1 else list(urls)})


def identifying_input(values: dict[str, Any]) -> dict[str, Any]:
    """The values of `input` that identities cover; keys that came later count only if the job sets them."""
    return {key: value for key, value in values.items() if key not in _LATER or value != _LATER[key]}
