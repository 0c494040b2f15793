"""What an earlier version (a7c91de) stored is read, resumed and published by this one."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import promptmill
from promptmill.job.spec import Job
from promptmill.output.manifest import read_manifest
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tests.support.jobs import carry_out
from tests.support.paths import ROOT

FIXTURE = ROOT / "tests" / "fixtures" / "half_answered"
FRESH = ["llm_latency_seconds", "llm_response_id"]  # differ for a row that is sent at another time
ADDED = [
    "llm_reasoning_tokens",
    "llm_usage_estimated",
    "llm_answered_by",
]  # columns that the earlier version didn't have


@pytest.fixture
def half_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A copy of the output that the earlier version left half answered."""
    shutil.copytree(FIXTURE, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Job.model_validate_json(Path("job.json").read_bytes())


async def test_an_output_left_half_answered_by_an_earlier_version_is_finished_as_that_version_would(
    half_answered: Job, credentials: Credentials, simulator: Simulator
) -> None:
    expected = read_manifest(Storage("finished"))
    assert expected is not None
    kept = _answered_before()

    manifest = await carry_out(half_answered, credentials)

    assert simulator.ledger()["totals"]["requests"] == manifest.requests_sent == expected.requests_sent == 25
    assert (manifest.reused, manifest.failed) == (expected.reused, expected.failed) == (34, 2)
    assert manifest.job_digest == expected.job_digest
    assert manifest.cost_usd == expected.cost_usd
    answers, theirs = promptmill.read("out"), promptmill.read("finished")
    is_kept = answers["llm_custom_id"].isin(kept)
    added = answers[ADDED[:2]]
    assert added[is_kept].isna().all(axis=None)
    assert added[~is_kept].notna().all(axis=None)
    answers = answers.drop(columns=ADDED)
    pd.testing.assert_frame_equal(answers.drop(columns=FRESH), theirs.drop(columns=FRESH))
    pd.testing.assert_frame_equal(answers[is_kept], theirs[is_kept])
    failures = promptmill.read_failures("out").drop(columns="llm_answered_by")
    pd.testing.assert_frame_equal(failures, promptmill.read_failures("finished"))
    assert [part.path for part in manifest.parts] == [part.path for part in expected.parts]
    ours, before = (pq.read_schema(f"{folder}/{manifest.parts[0].path}") for folder in ("out", "finished"))
    assert list(ours)[: len(before)] == list(before)
    assert ours.names[len(before) :] == ADDED


def _answered_before() -> set[str]:
    files = Path("out", "_checkpoints").rglob("*.parquet")
    return {custom_id for file in files for custom_id in pq.read_table(file)["custom_id"].to_pylist()}
