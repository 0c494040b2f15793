"""The output's Parquet parts: rolled by size, uploaded whole, made visible together.

A part's name has the job's digest and a number that no part of the output already there has, so that readers of that output
go on reading whole files.
"""

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.column_types import carried_type, filter_rows
from promptmill.job.output_spec import FormatOptions
from promptmill.output.columns import FAILURE_COLUMNS, failure_columns, success_columns, typed_names
from promptmill.output.manifest import PART_NAME, Manifest, PartInfo
from promptmill.output.parsed_answers import ParsedAnswers
from promptmill.output.part_files import PartFiles, PartLayout
from promptmill.output.publishing import FAILURES
from promptmill.storage import Storage
from promptmill.unpublished import UnpublishedFile

_LAST_FIRST_NUMBER = 50_000  # above it, a run numbers from 0 again: names of five digits sort as their numbers do


class OutputWriter:
    """Answered rows → parts that nobody sees yet. Use it in a `with` block, which discards at its end what isn't published.

    Not for several threads at once.
    """

    def __init__(
        self,
        storage: Storage,
        job_digest: str,
        success_schema: pa.Schema,
        failure_schema: pa.Schema,
        part_bytes: int,
        first_number: int = 0,
        properties: Sequence[str] | None = None,
        partition_by: Sequence[str] = (),
        options: FormatOptions | None = None,
    ) -> None:
        """`properties` are the keys of the answers' typed columns; by default they are called as the columns are.

        Failures are few and have no answers to partition them by, so they are never partitioned.
        """
        written_as = FormatOptions() if options is None else options
        layout = PartLayout(f"part-{job_digest}-", part_bytes, written_as, first_number)
        self._carried: list[str] = failure_schema.names[: -len(FAILURE_COLUMNS)]
        typed = typed_names(list(success_schema)[len(self._carried) :])
        self._properties = typed if properties is None else properties
        self._successes = PartFiles(storage, success_schema, replace(layout, partition_by=partition_by))
        self._failures = PartFiles(storage, failure_schema, layout, f"{FAILURES}/")

    def add(self, rows: pa.Table, answers: pa.Table, parsed: ParsedAnswers | None = None) -> None:
        """Append rows with their answers: tables of equal length and order, every row answered.

        `parsed` are the answers that succeeded, where somebody else needs them parsed too.
        `rows` has the carried columns, `row_index` among them if the output has it; `add` ignores others.
        Raises: any of STORAGE_ERRORS; ValueError when the tables don't fit each other or the schema.
        """
        if rows.num_rows != answers.num_rows:
            raise ValueError(f"{answers.num_rows} answers came for {rows.num_rows} rows")
        carried = rows.select(self._carried)
        succeeded = pc.is_null(answers["kind"])
        if not pc.all(succeeded, min_count=0).as_py():
            failed = pc.invert(succeeded)
            self._failures.append(
                filter_rows(carried, failed), failure_columns(answers.filter(failed), self._ours(self._failures))
            )
            carried, answers = filter_rows(carried, succeeded), answers.filter(succeeded)
        ours = success_columns(answers, self._ours(self._successes), self._properties, parsed)
        self._successes.append(carried, ours)

    def _ours(self, parts: PartFiles) -> list[pa.Field]:
        """The fields that don't come from the input."""
        return list(parts.schema)[len(self._carried) :]

    def close(self) -> tuple[tuple[PartInfo, ...], tuple[PartInfo, ...]]:
        """Upload what is left; returns the parts and the failure parts. The caller then publishes `files`.

        There is always a part, even an empty one, so that the output can be read as a dataset and shows its columns.
        There is no failure part without a failure. Raises: any of STORAGE_ERRORS.
        """
        return self._successes.close(at_least=1), self._failures.close(at_least=0)

    @property
    def files(self) -> list[UnpublishedFile]:
        """The uploaded parts, in the order in which they were begun."""
        return [*self._successes.finished, *self._failures.finished]

    def __enter__(self) -> "OutputWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._successes.discard()
        self._failures.discard()


def next_part_number(standing: Manifest | None, job_digest: str) -> int:
    """A first number with which no new part overwrites one of the output that is there."""
    parts = (*standing.parts, *standing.failure_parts) if standing is not None else ()
    found = [PART_NAME.fullmatch(part.path.rpartition("/")[2]) for part in parts]
    numbers = [int(match[2]) for match in found if match is not None and match[1] == job_digest]
    return max(numbers) + 1 if numbers and min(numbers) < _LAST_FIRST_NUMBER else 0


def unwritable_columns(schema: pa.Schema, carried: Sequence[str]) -> list[str]:
    """Carried columns of a type that Parquet can't hold, with that type, such as a column of empty objects from JSON."""
    fields = [schema.field(name) for name in carried]
    return [f"{column.name!r} ({column.type})" for column in fields if carried_type(column.type) is None]
