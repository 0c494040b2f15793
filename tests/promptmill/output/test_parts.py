"""Parts, their publication and reading them back: on local disk, in memory and on a real S3 server (SeaweedFS)."""

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptmill.checkpoints.answer_files import answers_table
from promptmill.errors import JobError, OutputError
from promptmill.job.spec import Job
from promptmill.output.columns import output_schema
from promptmill.output.manifest import Manifest, PartInfo, write_manifest
from promptmill.output.part_writer import PartWriter
from promptmill.output.parts import OutputWriter, next_part_number, unwritable_columns
from promptmill.output.publishing import publish_side_by_side
from promptmill.output.reading import read, read_failures
from promptmill.planning.prepared_job import prepare
from promptmill.records import Completion, Failure, Result, Usage
from promptmill.storage import Storage
from tests.support.jobs import MakeJob

DIGEST = "0123abcd"
OTHER = "ffffffff"
PROPERTIES = {"mood": {"enum": ["good", "bad"]}, "stars": {"type": ["integer", "null"]}}


@dataclass(frozen=True)
class Columns:
    """An input of which only the columns are known."""

    schema: pa.Schema
    carried: Sequence[str]


@pytest.fixture(params=["local", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty folder on each kind of storage."""
    if request.param == "local":
        return Storage(str(tmp_path / "day=1"))
    if request.param == "s3":
        return Storage(request.getfixturevalue("s3_folder"))
    return Storage(f"memory://{uuid.uuid4().hex}")


def schemas(endpoint: str = "chat.completions", properties: dict[str, Any] = PROPERTIES) -> tuple[pa.Schema, pa.Schema]:
    prompt = {"input": "{{ text }}"} if endpoint == "embeddings" else {"user": "{{ text }}"}
    request = {"model": "m", "endpoint": endpoint, **prompt}
    job = Job.model_validate({"name": "j", "input": {"url": "i"}, "request": request, "output": {"url": "o"}})
    return output_schema(job, Columns(input_rows(0, 1).schema, ["text", "kind"]), properties, {})


def input_rows(start: int, count: int) -> pa.Table:
    """Rows with a random text that doesn't compress, a dictionary column and one that isn't carried."""
    noise = np.random.default_rng(start)
    return pa.table(
        {
            "row_index": pa.array(range(start, start + count), pa.int64()),
            "text": [noise.bytes(50).hex() for _ in range(count)],
            "kind": pa.array([f"kind {(start + n) % 3}" for n in range(count)]).dictionary_encode(),
            "mood": ["not carried"] * count,
        }
    )


def completion(row: int, embedding: bool = False) -> Result:
    vector = np.arange(4, dtype=np.float32) + row if embedding else None
    response = None if embedding else f'{{"mood": "good", "stars": {row}}}'
    usage, cost = Usage(10, 2, 3), Decimal("0.000012")
    return Completion(f"{row:041x}", response, vector, "m-1", "stop", usage, cost, 0.5, 1, f"id-{row}", 1.0)


def failure(row: int) -> Result:
    return Failure(f"{row:041x}", "timeout", "too slow", None, 6, None, Usage(), Decimal(0), None, 1.0)


def answered(rows: pa.Table, failed: Sequence[int] = (), embedding: bool = False) -> pa.Table:
    numbers: list[int] = rows["row_index"].to_pylist()
    return answers_table([failure(n) if n in failed else completion(n, embedding) for n in numbers])


def finished(parts: Sequence[PartInfo], failure_parts: Sequence[PartInfo] = ()) -> Manifest:
    now = datetime.now(UTC)
    counts = (1, 1, 0, 0, 1, 1, 1, 0, 1)
    listed = (tuple(parts), tuple(failure_parts))
    return Manifest({}, DIGEST, "online", "completed", *counts, Decimal(0), None, None, now, now, 0.0, *listed, (), ())


def write_output(
    storage: Storage, chunks: int, chunk_rows: int, failed: Sequence[int] = (), part_bytes: int = 10**6
) -> Manifest:
    """An output as a run would publish it."""
    with OutputWriter(storage, DIGEST, *schemas(), part_bytes) as writer:
        for chunk in range(chunks):
            rows = input_rows(chunk * chunk_rows, chunk_rows)
            writer.add(rows, answered(rows, failed))
        manifest = finished(*writer.close())
        publish_side_by_side(writer.files)
    write_manifest(storage, manifest)
    return manifest


def test_rows_come_back_typed_and_in_input_order_with_failures_beside(storage: Storage) -> None:
    manifest = write_output(storage, 4, 10, failed=[0, 25])

    frame, failures = read(storage.url), read_failures(storage.url)
    assert [n for n in range(40) if n not in (0, 25)] == frame["row_index"].to_list()
    assert frame["row_index"].to_list() == frame["stars"].to_list()
    assert {"good"} == set(frame["mood"])
    assert Decimal("0.000456") == frame["llm_cost_usd"].sum()
    assert [(0, "timeout"), (25, "timeout")] == list(
        zip(failures["row_index"], failures["llm_error_kind"], strict=True)
    )
    assert (38, 2) == (manifest.parts[0].rows, manifest.failure_parts[0].rows)


def test_a_dataset_reader_finds_the_succeeded_rows_and_nothing_else(storage: Storage) -> None:
    write_output(storage, 2, 10, failed=[3])

    table = pq.read_table(storage.root, filesystem=storage.fs, partitioning=cast(Any, None))

    assert schemas()[0].names == table.schema.names
    assert 19 == table.num_rows


def test_parts_roll_at_about_their_size_and_go_on_in_order(storage: Storage) -> None:
    manifest = write_output(storage, 60, 50, part_bytes=40_000)

    sizes = [part.bytes for part in manifest.parts]
    assert len(sizes) > 3
    assert all(40_000 <= size <= 80_000 for size in sizes[:-1])
    assert [f"part-{DIGEST}-{n:05d}.parquet" for n in range(len(sizes))] == [part.path for part in manifest.parts]
    assert {part.path: part.bytes for part in manifest.parts} == {
        k: v for k, v in storage.sizes().items() if k[0] == "p"
    }
    assert list(range(3000)) == read(storage.url)["row_index"].to_list()


def test_an_error_takes_back_every_part(storage: Storage) -> None:
    with pytest.raises(KeyboardInterrupt), OutputWriter(storage, DIGEST, *schemas(), 20_000) as writer:
        for chunk in range(20):
            rows = input_rows(chunk * 50, 50)
            writer.add(rows, answered(rows, failed=range(0, 1000, 2)))
        raise KeyboardInterrupt

    assert [] == [name for name in storage.sizes() if name]


def test_a_run_without_success_leaves_one_empty_part_with_all_columns(storage: Storage) -> None:
    manifest = write_output(storage, 1, 3, failed=[0, 1, 2])

    assert [(f"part-{DIGEST}-00000.parquet", 0)] == [(part.path, part.rows) for part in manifest.parts]
    assert schemas()[0].names == list(read(storage.url).columns)
    assert 0 == pq.read_table(storage.root, filesystem=storage.fs, partitioning=cast(Any, None)).num_rows


def test_a_run_without_failure_leaves_no_failure_part(storage: Storage) -> None:
    manifest = write_output(storage, 1, 3)

    assert () == manifest.failure_parts
    assert schemas()[1].names == list(read_failures(storage.url).columns)
    assert (0, ["llm_http_status"]) == (len(got := read_failures(storage.url, ["llm_http_status"])), list(got.columns))


def test_embeddings_come_back_as_vectors(storage: Storage) -> None:
    rows = input_rows(0, 3)
    with OutputWriter(storage, DIGEST, *schemas("embeddings", {}), 1000) as writer:
        writer.add(rows, answered(rows, failed=[1], embedding=True))
        manifest = finished(*writer.close())
        publish_side_by_side(writer.files)
    write_manifest(storage, manifest)

    frame = read(storage.url, ["row_index", "embedding"])
    assert [0, 2] == frame["row_index"].to_list()
    assert [2.0, 3.0, 4.0, 5.0] == list(frame["embedding"][1])


def test_reading_before_a_run_has_finished_says_so(storage: Storage) -> None:
    with pytest.raises(OutputError, match=r"has no _manifest\.json: no run has finished there yet\."):
        read(storage.url)


def test_reading_an_unknown_column_names_the_nearest(storage: Storage) -> None:
    write_output(storage, 1, 3)

    with pytest.raises(OutputError, match=r"has no column 'moods'; it has 19\. Did you mean 'mood'\?"):
        read(storage.url, ["moods"])


def test_a_listed_part_that_is_gone_is_an_error(storage: Storage) -> None:
    manifest = write_output(storage, 1, 3)
    storage.delete([manifest.parts[0].path])

    with pytest.raises(OutputError, match="lacks a part that its _manifest.json lists"):
        read(storage.url)


def test_a_damaged_part_is_an_error(storage: Storage) -> None:
    manifest = write_output(storage, 1, 3)
    storage.write(manifest.parts[0].path, b"PAR1 not quite PAR1")

    with pytest.raises(OutputError, match="can't be read: ArrowInvalid"):
        read(storage.url)


def test_row_groups_gather_small_chunks_and_split_large_ones(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    manifest = write_output(storage, 40, 25, part_bytes=100_000_000)

    file = pq.ParquetFile(tmp_path / manifest.parts[0].path)
    assert (1, 1000) == (file.num_row_groups, file.metadata.num_rows)
    assert "ZSTD" == file.metadata.row_group(0).column(0).compression


def test_a_table_of_other_types_or_length_is_refused(tmp_path: Path) -> None:
    rows = input_rows(0, 3)
    with OutputWriter(Storage(str(tmp_path)), DIGEST, *schemas(), 1000) as writer:
        with pytest.raises(ValueError, match="2 answers came for 3 rows"):
            writer.add(rows, answered(rows)[:2])


def part(number: int, digest: str = DIGEST, folder: str = "") -> PartInfo:
    return PartInfo(f"{folder}part-{digest}-{number:05d}.parquet", 1, 1)


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        pytest.param(None, 0, id="none"),
        pytest.param(finished([part(0), part(1)]), 2, id="after-them"),
        pytest.param(finished([part(0)], [part(4, folder="_failures/")]), 5, id="failures-too"),
        pytest.param(finished([part(7, OTHER)]), 0, id="of-another-job"),
        pytest.param(finished([part(49_999), part(50_000)]), 50_001, id="names-still-sort"),
        pytest.param(finished([part(50_001)]), 0, id="start-again-before-six-digits"),
    ],
)
def test_new_parts_are_numbered_so_that_no_standing_one_is_overwritten(
    standing: Manifest | None, expected: int
) -> None:
    assert expected == next_part_number(standing, DIGEST)


def test_columns_that_parquet_cannot_hold_are_named() -> None:
    schema = pa.schema([("a", pa.int8()), ("b", pa.struct([])), ("c", pa.list_(pa.struct([])))])

    assert ["'b' (struct<>)"] == unwritable_columns(schema, ["a", "b"])


def test_an_input_that_no_output_can_carry_is_refused_until_its_columns_are_chosen(
    tmp_path: Path, make_job: MakeJob
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "x", "tags": {}}\n')
    job = make_job(input={"url": str(tmp_path / "rows.jsonl")})

    with pytest.raises(JobError, match=r"'tags' \(struct<>\).*input\.columns"):
        prepare(job, date(2026, 11, 24))
    prepare(make_job(input={"url": str(tmp_path / "rows.jsonl"), "columns": ["text"]}), date(2026, 11, 24))


def test_an_error_of_the_thread_that_writes_ends_the_output_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PartWriter, "close", refuse)
    before = threading.active_count()
    with pytest.raises(OSError, match="No space"):
        with OutputWriter(Storage(str(tmp_path)), DIGEST, *schemas(), 1_000) as writer:
            for start in range(0, 3_000, 100):
                writer.add(rows := input_rows(start, 100), answered(rows, ()))

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    assert threading.active_count() == before
