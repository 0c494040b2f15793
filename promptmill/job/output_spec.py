"""The `output` of a job: where the answers go, and how the files that hold them are written."""

from typing import Literal

from pydantic import Field, field_validator

from promptmill.job.section import Section

LATER: dict[str, object] = {  # keys that change what is published, with their defaults
    "response_column": None,
    "answer_prefix": "",
    "meta_prefix": "llm_",
    "row_index_column": "row_index",
    "partition_by": [],
    "format_options": None,
}


class FormatOptions(Section):
    """How the Parquet files of the output are written."""

    compression: Literal["zstd", "snappy", "gzip", "brotli", "lz4", "none"] = Field(
        default="zstd", description="How columns are compressed; every reader knows snappy."
    )
    row_group_rows: int = Field(
        default=100_000, ge=1, le=10_000_000, description="At most this many rows in a row group."
    )
    row_group_bytes: int = Field(
        default=16 * 2**20,
        ge=1_000,
        le=2**30,
        description="About this many bytes in a row group at most, before compression; a run holds them in memory.",
    )


class Output(Section):
    """Where the answers go."""

    url: str = Field(
        min_length=1,
        description="A folder, any fsspec URL; a template of {{ job }}, {{ input_name }} and {{ date }}.",
    )
    part_bytes: int = Field(default=134_217_728, ge=1_000, description="About this many bytes in each Parquet part.")
    partition_by: list[str] = Field(
        default_factory=list,
        description="Columns whose values become folders, such as day=2024-01-31: carried columns of the input, or "
        "properties of response_schema that are an enumeration or a boolean.",
    )
    format_options: FormatOptions | None = Field(default=None, description="How the Parquet files are written.")
    compare: dict[str, str] | None = Field(
        default=None,
        description="For rows whose right answer you know: {answer column: input column}; the report shows how often "
        "they agree.",
    )
    response_column: str | None = Field(
        default=None,
        min_length=1,
        description="The answer's column, where the input has one of that name. Default: response, or embedding.",
    )
    answer_prefix: str = Field(
        default="", description="What stands before the names of the columns of response_schema's properties."
    )
    meta_prefix: str = Field(
        default="llm_", description="What stands before the names of the columns that Promptmill adds."
    )
    row_index_column: str = Field(
        default="row_index", min_length=1, description="The column of the row's number, if there is no input.id_column."
    )
    allow_other_files: bool = Field(
        default=False, description="Begin an output in a folder that holds files of somebody else. They are left alone."
    )

    @field_validator("partition_by")
    @classmethod
    def _refuse_repeated(cls, value: list[str]) -> list[str]:
        repeated = sorted({name for name in value if value.count(name) > 1})
        if repeated:
            raise ValueError(f"it names {', '.join(map(repr, repeated))} twice; a column makes one level of folders")
        return value

    @property
    def written_as(self) -> FormatOptions:
        """How the Parquet files are written."""
        return FormatOptions() if self.format_options is None else self.format_options
