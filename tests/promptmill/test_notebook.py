"""A notebook gives a frame and gets frames; what only a flow can do is refused."""

import importlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import promptmill
from promptmill.errors import SetupError
from promptmill.simulator import Simulator


@pytest.mark.parametrize(
    ("name", "value"),
    [("provider", "openai"), ("approve_above_usd", "5"), ("shards", 2), ("task_runner", "dask")],
)
def test_a_job_that_needs_prefect_is_refused_before_anything_is_sent(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    job = {"name": "noted", "request": {"model": "gpt-6-luna", "user": "{{ text }}"}, "output": {"url": str(tmp_path)}}

    with pytest.raises(SetupError, match=rf"the job has {name}.*promptmill run"):
        promptmill.run(pd.DataFrame({"text": ["a"]}), {**job, name: value})

    assert simulator.ledger()["counters"]["attempts"] == 0


def test_run_stays_a_function_after_its_room_is_imported():
    importlib.import_module("promptmill.runs.run")

    assert callable(promptmill.run)
    assert promptmill.run.__module__ == "promptmill.notebook"
