"""Defaults of a folder fill in what a job file doesn't say, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.command.arguments import load
from promptmill.errors import JobError
from promptmill.job.defaults import Defaults, filled, find_defaults
from promptmill.job.spec import Job

JOB: dict[str, Any] = {
    "name": "a",
    "input": {"url": "a.csv"},
    "request": {"model": "m", "user": "{{ text }}", "parameters": {"temperature": 1}},
    "output": {"url": "out"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a job file in it."""
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(JOB))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("promptmill.toml", "budget_usd = 5\n[limits]\nmax_concurrency = 3", id="own-file"),
        pytest.param(
            "pyproject.toml", "[tool.promptmill]\nbudget_usd = 5\nlimits.max_concurrency = 3", id="of-the-project"
        ),
    ],
)
def test_a_job_has_the_folders_values_where_it_has_none(name: str, text: str, folder: Path):
    (folder / name).write_text(text)
    told: list[str] = []
    job = load("job.yaml", None, told.append)

    assert (job.budget_usd, job.limits.max_concurrency, job.request.model) == (5, 3, "m")
    assert told[0].endswith(": budget_usd, limits.max_concurrency")
    assert name in told[0]


def test_the_change_on_the_command_line_comes_before_both(folder: Path):
    (folder / "promptmill.toml").write_text("chunk_rows = 7\nchunks_in_flight = 2")
    job = load("job.yaml", ["chunk_rows=9"])

    assert (job.chunk_rows, job.chunks_in_flight) == (9, 2)


@pytest.mark.parametrize(
    ("own", "defaults", "whole"),
    [
        pytest.param({"budget_usd": None}, {"budget_usd": 5}, {"budget_usd": None}, id="null-is-a-value"),
        pytest.param(
            {"request": {"parameters": {"a": 1}}},
            {"request": {"parameters": {"b": 2}, "model": "m"}},
            {"request": {"parameters": {"a": 1}, "model": "m"}},
            id="a-free-mapping-is-one-value",
        ),
        pytest.param(
            {"input": {"csv": {"quote": "'"}}},
            {"input": {"csv": {"delimiter": ";"}}},
            {"input": {"csv": {"quote": "'", "delimiter": ";"}}},
            id="a-section-in-a-section",
        ),
        pytest.param({"pricing": None}, {"pricing": {"input_per_mtok": 1}}, {"pricing": None}, id="no-section"),
        pytest.param({}, {"limits": {"shared": "x"}}, {"limits": {"shared": "x"}}, id="a-whole-section"),
    ],
)
def test_sections_are_filled_key_by_key(own: dict[str, Any], defaults: dict[str, Any], whole: dict[str, Any]):
    assert filled(own, defaults) == whole


VALUES = st.dictionaries(
    st.sampled_from(["budget_usd", "chunk_rows", "limits", "retry"]),
    st.none() | st.integers() | st.dictionaries(st.sampled_from(["shared", "max_attempts"]), st.integers()),
)


@given(VALUES, VALUES)
def test_a_default_never_replaces_a_value_of_the_job(own: dict[str, Any], defaults: dict[str, Any]):
    whole = filled(own, defaults)

    assert filled(own, {}) == own
    assert set(whole) == {*own, *defaults}
    for name, value in own.items():
        assert whole[name] == value or {**whole[name], **value} == whole[name]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("limts = {}", r"'limts'.*'limits'", id="unknown-key"),
        pytest.param(
            "limits = {max_concurency = 1}", r"'limits\.max_concurency'.*'max_concurrency'", id="in-a-section"
        ),
        pytest.param("a b", "isn't TOML", id="no-toml"),
        pytest.param("[limits]\nmax_concurrency = 0", r"promptmill\.toml, isn't a job", id="value"),
    ],
)
def test_a_mistake_in_the_defaults_is_told_with_their_file(text: str, told: str, folder: Path):
    (folder / "promptmill.toml").write_text(text)
    with pytest.raises(JobError, match=told) as error:
        load("job.yaml", None)

    assert "promptmill.toml" in str(error.value)


def test_a_project_without_our_table_has_no_defaults(folder: Path):
    (folder / "pyproject.toml").write_text("[project]\nname = 'a'")

    assert find_defaults(folder) is None
    (folder / "pyproject.toml").write_text("this isn't TOML, and none of our business")
    assert find_defaults(folder) is None


def test_a_file_further_up_is_somebody_elses(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "promptmill.toml").write_text("budget_usd = 5")
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")

    assert load("../job.yaml", None).budget_usd is None


def test_defaults_are_named_by_the_keys_that_a_job_has():
    assert Defaults("", {"request": {"parameters": {"a": 1}}, "shards": 2}).names() == "request.parameters, shards"
    assert {"limits", "request"} <= set(Job.model_fields)
