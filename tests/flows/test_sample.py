"""A sample is drawn from the whole dataset, and the whole run pays for none of its rows again."""

import asyncio
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.command.doing import Doing
from flows.command.local import sample_job
from promptmill import read
from promptmill.dataset.frames import from_frame
from promptmill.job.input_spec import Input
from promptmill.output.manifest import read_manifest
from promptmill.provider.transport import Credentials
from promptmill.runs.sample import draw_numbers
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tests.support.jobs import MakeJob, carry_out

ROWS = 40


@given(st.data())
def test_a_larger_sample_with_the_same_seed_holds_the_smaller_one(data: st.DataObject):
    total = data.draw(st.integers(1, 300))
    few, many = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    seed = data.draw(st.integers(0, 5))
    drawn = draw_numbers(total, many, seed)

    assert drawn == sorted(set(drawn))
    assert len(drawn) == many
    assert set(drawn) <= set(range(total))
    assert set(draw_numbers(total, few, seed)) <= set(drawn)


@given(st.data())
def test_rows_that_are_drawn_from_a_dataset_are_its_rows(data: st.DataObject):

    whole = from_frame(pd.DataFrame({"n": range(50)}), Input(url="memory://frame"))
    numbers = sorted(data.draw(st.sets(st.integers(0, 49), min_size=1)))
    start = data.draw(st.integers(0, len(numbers)))
    found = [row for table in whole.only(numbers).read(7, start=start) for row in table["n"].to_pylist()]

    assert found == numbers[start:]


@pytest.mark.parametrize(
    ("options", "is_first"),
    [
        pytest.param({"seed": 3}, False, id="drawn"),
        pytest.param({"is_first": True}, True, id="the-first-rows"),
    ],
)
def test_a_sample_is_shown_and_its_answers_are_kept_for_the_whole_run(
    options: dict[str, Any],
    is_first: bool,
    make_job: MakeJob,
    simulator: Simulator,
    credentials: Credentials,
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    job = make_job(ROWS)
    sample_job(job, 6, True, True, Doing(None), **options)
    numbers = read(f"{job.output.url}/_samples")["row_index"].tolist()
    manifest = asyncio.run(carry_out(job, credentials))

    assert numbers == (list(range(6)) if is_first else draw_numbers(ROWS, 6, 3))
    assert manifest.reused == 6
    assert manifest.requests_sent == ROWS - 6


def test_rows_that_take_another_rows_answer_are_not_drawn(
    make_job: MakeJob, simulator: Simulator, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    job = make_job([f"text {i % 8}" for i in range(ROWS)])
    sample_job(job, 6, True, True, Doing(None))
    sample = read_manifest(Storage(f"{job.output.url}/_samples"))
    manifest = asyncio.run(carry_out(job, credentials))

    assert sample is not None and (sample.requests_sent, sample.shared) == (6, 0)
    assert (manifest.requests_sent, manifest.shared) == (8 - 6, ROWS - 8)


def test_a_sample_shows_answers_by_column_with_the_known_labels_and_the_accuracy(
    make_job: MakeJob, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    monkeypatch.setenv("COLUMNS", "200")
    schema = {"type": "object", "properties": {"label": {"enum": ["good"]}, "sure": {"enum": [True]}}}
    job = make_job(["GOOD", "bad", "ugly"], output__compare={"label": "text"}, request__response_schema=schema)
    sample_job(job, 20, as_json=False, wait=True, doing=Doing(None))
    shown = capfd.readouterr().out
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]

    assert ["row", "input", "label", "sure", "known: text"] == [
        cell.strip() for cell in shown.splitlines()[1].strip("┃").split("┃")
    ]
    assert cells == [
        ["0", "GOOD", "good", "true", "= GOOD"],
        ["1", "bad", "good", "true", "≠ bad"],
        ["2", "ugly", "good", "true", "≠ ugly"],
    ]
    assert "accuracy of label: 33.3 % (of 3 rows compared)" in shown
