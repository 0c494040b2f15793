"""Whatever a Parquet file holds, a run publishes every value of it unchanged, or refuses the file before it sends anything."""

import time
import uuid
from collections.abc import Sequence
from decimal import Decimal

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill.cell_values import Unreadable, values_of
from promptmill.checkpoints.answer_files import answers_table
from promptmill.column_casts import cast_column, plain_type
from promptmill.column_types import may_be_unreadable
from promptmill.errors import SetupError
from promptmill.job.spec import Job
from promptmill.output.columns import output_schema
from promptmill.output.parts import OutputWriter
from promptmill.output.publishing import publish_side_by_side
from promptmill.output.report.page import ReportData
from promptmill.planning.plan import Unrendered, plan_chunks
from promptmill.planning.prepared_job import prepare
from promptmill.planning.rows import read_chunks, render_chunk
from promptmill.records import Completion, Failure, Result, Usage
from promptmill.runs.publish import write_rows
from tests.support.arrow_tables import column, kinds
from tests.support.examples import examples_or_longer
from tests.support.jobs import TODAY

EXAMPLES = examples_or_longer(300)  # 10,000 to look longer
ROWS = 5
NAMES = ("", "a", "a.b", "a\0b", "a b", "Ä", "-", "row", "embedding", "x" * 300, "'\"", "{{", "\n")


def result(custom_id: str, *, fails: bool) -> Result:
    """An answer or a failure of a row."""
    if fails:
        return Failure(custom_id, "refusal", "no", 200, 1, None, Usage(), Decimal(0), None, time.time())
    usage, now = Usage(5, 0, 1), time.time()
    return Completion(custom_id, "yes", None, "m", "stop", usage, Decimal("0.1"), 0.5, 1, "r", now)


def published(job: Job, failing: Sequence[int]) -> tuple[pa.Table, pa.Table]:
    """The parts and failure parts of a job whose rows are answered, but for those that fail; without the report's plots."""
    prepared = prepare(job, TODAY)
    plan = plan_chunks(prepared.dataset, prepared.builder, job)
    columns = {*prepared.builder.columns, *prepared.dataset.schema.names[:1]}
    for chunk, table in read_chunks(prepared.dataset, job, plan, plan.chunks, columns):
        rendered = render_chunk(prepared.builder, job, plan, chunk, table)
        fails = [chunk.start + place in failing or isinstance(row, Unrendered) for place, row in enumerate(rendered)]
        results = [result(row.custom_id, fails=fail) for row, fail in zip(rendered, fails, strict=True)]
        prepared.store.save_chunk(chunk.key, answers_table(results), [])
    schemas = output_schema(job, prepared.dataset, {}, {})
    with OutputWriter(prepared.output, "0123abcd", *schemas, job.output.part_bytes) as writer:
        write_rows(prepared, plan, writer, ReportData(job, names=prepared.names))
        parts, failures = writer.close()
        publish_side_by_side(writer.files)
    fs, root = prepared.output.fs, prepared.output.path("")
    found = [pq.read_table(fs.open(f"{root.rstrip('/')}/{part.path}")) for part in (*parts, *failures)]
    return found[0], found[1] if failures else schemas[1].empty_table()


def assert_same(values: pa.ChunkedArray, places: pa.ChunkedArray, found: pa.ChunkedArray) -> None:
    """Equal values at these places; the type may only have become plainer."""
    if (
        values.type != found.type
    ):  # first of all: Arrow 26 takes lists of nulls with too few values, and then can't cast them
        assert plain_type(values.type) == found.type, (values.type, found.type)
        values = cast_column(values, found.type)
    expected = values.take(places)
    assert expected.equals(found), (expected, found)


def parquet_file(table: pa.Table) -> str | None:
    """The folder of a Parquet file with the table; None where pyarrow can't write it."""
    folder = f"memory://types/{uuid.uuid4().hex}"
    try:
        with fsspec.open(f"{folder}/in.parquet", "wb") as file:
            pq.write_table(table, file)
    except (pa.ArrowException, NotImplementedError, OSError):
        return None
    return folder


def read_back(folder: str) -> pa.Table | None:
    """The file's table; None where pyarrow can't, as dictionaries of texts that aren't UTF-8."""
    try:
        with fsspec.open(f"{folder}/in.parquet", "rb") as file:
            table = pq.read_table(file)
            table.validate()
            return table
    except (pa.ArrowException, OSError):
        return None


def job_over(folder: str, template: str) -> Job:
    request = {"model": "m", "user": template, "same_for_all": True}
    pricing = {"input_per_mtok": 1, "output_per_mtok": 1}
    places = {"input": {"url": f"{folder}/in.parquet"}, "output": {"url": f"{folder}/out"}}
    return Job.model_validate({"name": "j", "request": request, "pricing": pricing, "chunk_rows": 3, **places})


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    columns=st.lists(st.tuples(st.sampled_from(NAMES), kinds()), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_value_of_every_type_is_published_or_refused(columns: list[tuple[str, pa.DataType]], seed: int) -> None:
    random = np.random.default_rng(seed)
    names = [name for name, _ in columns]
    table = pa.Table.from_arrays([column(random, kind, ROWS) for _, kind in columns], names=names)
    folder = parquet_file(table)
    if folder is None:
        return
    expected = read_back(folder)
    failing = [place for place in range(ROWS) if random.random() < 0.3]

    shown = (
        names.index("row") if "row" in names else 0
    )  # a column of that name stands before the mapping of all columns
    template = "{{ row }}" if "row" in names else f"{{{{ row[{names[0]!r}] }}}}"

    try:
        parts, failures = published(job_over(folder, template), failing)
    except SetupError as error:
        is_readable = expected is not None and not any(may_be_unreadable(kind) for kind in table.schema.types)
        assert not is_readable or len(set(names)) < len(names), error  # noqa: PT017 - nothing else is refused
        return
    assert expected is not None

    templated = [value is None or isinstance(value, Unreadable) for value in values_of(expected.column(shown))]
    assert all(not is_bad for place, is_bad in enumerate(templated) if place in parts["row_index"].to_pylist())
    for rows in (parts, failures):
        for name in names:
            assert_same(expected[name], rows["row_index"], rows[name])
    assert sorted([*parts["row_index"].to_pylist(), *failures["row_index"].to_pylist()]) == list(range(ROWS))
