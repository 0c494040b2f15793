"""The manifest: exact round trip, refusal of what isn't one, and how two jobs differ."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptmill.errors import OutputError
from promptmill.job.spec import Job
from promptmill.output.differences import describe_difference
from promptmill.output.manifest import (
    Manifest,
    PartInfo,
    decode,
    encode,
    read_manifest,
    write_manifest,
)
from promptmill.storage import Storage

CONTRACT = (
    "job job_digest mode state rows succeeded failed reused requests_sent attempts input_tokens cached_input_tokens "
    "output_tokens cost_usd estimated_cost_usd budget_usd started_at finished_at seconds parts failure_parts batches "
    "flow_run_ids"
)
EXTRAS = (
    "failures_by_kind input_fingerprint accuracy promptmill_version reasoning_tokens shared cached "
    "partition_columns input_versions measured scorecard retries_by_kind audit limited_by steering deadline"
)


def job(**request: Any) -> Job:
    return Job.model_validate(
        {
            "name": "reviews",
            "input": {"url": "s3://lake/reviews.parquet"},
            "request": {"model": "m", "user": "Review: {{ text }}", **request},
            "output": {"url": "s3://lake/labels"},
        }
    )


@pytest.fixture
def manifest() -> Manifest:
    """Of a finished run over three rows."""
    return Manifest(
        job=job().model_dump(mode="json"),
        job_digest="0123abcd",
        mode="online",
        state="completed",
        rows=3,
        succeeded=2,
        failed=1,
        reused=0,
        requests_sent=3,
        attempts=4,
        input_tokens=300,
        cached_input_tokens=100,
        output_tokens=30,
        cost_usd=Decimal("0.000000012000"),
        estimated_cost_usd=Decimal("1E+2"),
        budget_usd=None,
        started_at=datetime(2026, 11, 24, 6, 0, 0, tzinfo=timezone(timedelta(hours=2))),
        finished_at=datetime(2026, 11, 24, 4, 0, 1, 500_000, tzinfo=UTC),
        seconds=1.5,
        parts=(PartInfo("part-0123abcd-00000.parquet", 2, 1000),),
        failure_parts=(PartInfo("_failures/part-0123abcd-00000.parquet", 1, 900),),
        batches=({"id": "batch_1", "status": "completed", "requests": 3},),
        flow_run_ids=("a-b-c",),
        failures_by_kind={"timeout": 1},
        accuracy={"mood": {"compared": 2, "correct": 1}},
        promptmill_version="1.0",
    )


def test_what_is_written_is_what_is_read(manifest: Manifest, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))

    write_manifest(storage, manifest)

    assert manifest == read_manifest(storage)


def test_its_fields_are_those_of_the_contract_and_then_ours(manifest: Manifest) -> None:
    assert [*CONTRACT.split(), *EXTRAS.split()] == list(orjson.loads(encode(manifest)))


def test_money_is_a_plain_decimal_string_and_time_is_utc(manifest: Manifest) -> None:
    values = orjson.loads(encode(manifest))

    assert ["0.000000012", "100", None] == [values[f"{name}_usd"] for name in ("cost", "estimated_cost", "budget")]
    assert ["2026-11-24T04:00:00.000Z", "2026-11-24T04:00:01.500Z"] == [values["started_at"], values["finished_at"]]


def test_a_place_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert read_manifest(Storage(str(tmp_path / "nowhere"))) is None


def test_fields_of_a_newer_version_are_passed_over_and_of_an_older_one_default(manifest: Manifest) -> None:
    values = orjson.loads(encode(manifest))
    older = {name: values[name] for name in CONTRACT.split()}

    expected = replace(manifest, failures_by_kind={}, accuracy=None, promptmill_version="")
    assert expected == decode(orjson.dumps({**older, "tomorrow": 1}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"rows": None}, "rows", id="null"),
        pytest.param({"rows": -1}, "rows", id="negative"),
        pytest.param({"rows": "3"}, "rows", id="string-for-number"),
        pytest.param({"state": "running"}, "state", id="unknown-state"),
        pytest.param({"cost_usd": "much"}, "cost_usd", id="no-money"),
        pytest.param({"started_at": "2026-11-24T04:00:00"}, "started_at", id="no-time-zone"),
        pytest.param({"parts": [{"path": "../x.parquet", "rows": 1, "bytes": 1}]}, "parts.0.path", id="outside"),
    ],
)
def test_a_foreign_manifest_is_refused_with_the_field_that_is_wrong(
    manifest: Manifest, change: dict[str, object], complaint: str
) -> None:
    data = orjson.dumps({**orjson.loads(encode(manifest)), **change})

    with pytest.raises(
        OutputError, match=rf"^s3://lake/_manifest.json .*{re.escape(complaint)}: .*run the job again\.$"
    ):
        decode(data, "s3://lake/_manifest.json")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"job": '])
def test_a_torn_manifest_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "_manifest.json").write_bytes(data)

    with pytest.raises(OutputError, match="is no manifest"):
        read_manifest(Storage(str(tmp_path)))


def test_a_manifest_that_cannot_be_read_is_an_error_and_not_none(tmp_path: Path) -> None:
    (tmp_path / "_manifest.json").mkdir()

    with pytest.raises(OutputError, match="can't be read: IsADirectoryError"):
        read_manifest(Storage(str(tmp_path)))


def test_equal_jobs_do_not_differ_wherever_their_output_and_limits(manifest: Manifest) -> None:
    other = job().model_copy(update={"limits": job().limits.model_copy(update={"max_concurrency": 1})})

    assert [] == describe_difference(manifest, other)


def test_a_schema_as_text_differs_in_nothing_from_the_same_schema_as_an_object(manifest: Manifest) -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"enum": ["x"]}}}
    old = replace(manifest, job=job(response_schema=schema).model_dump(mode="json"))

    assert [] == describe_difference(old, job(response_schema=orjson.dumps(schema).decode()))


def test_a_difference_is_told_by_its_key_with_both_values(manifest: Manifest) -> None:
    other = job(model="n", parameters={"temperature": 0})
    other = other.model_copy(update={"name": "labels", "input": other.input.model_copy(update={"url": "here.csv"})})

    expected = [
        "name: 'reviews' -> 'labels'",
        "request.model: 'm' -> 'n'",
        "input.url: 's3://lake/reviews.parquet' -> 'here.csv'",
        "request.parameters.temperature: none -> 0",
    ]
    assert expected == describe_difference(manifest, other)


def test_long_prompts_are_cut_to_where_they_differ(manifest: Manifest) -> None:
    old = replace(manifest, job=job(user="a" * 5000 + "OLD" + "b" * 5000).model_dump(mode="json"))

    (line,) = describe_difference(old, job(user="a" * 5000 + "NEW" + "b" * 5000))

    assert re.fullmatch(r"request\.user: '…a{15}OLDb+…' -> '…a{15}NEWb+…'", line)
    assert len(line) < 160


def test_many_differences_are_counted_and_not_all_told(manifest: Manifest) -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(50)}}

    lines = describe_difference(manifest, job(response_schema=schema))

    assert 13 == len(lines)
    assert "and 39 more" == lines[-1]
