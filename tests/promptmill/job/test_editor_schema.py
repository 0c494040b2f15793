"""What editors know of a job file is what the job's model takes."""

import json
import re
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from promptmill.job.editor_schema import editor_schema
from promptmill.job.file import parse_job
from tests.support.paths import ROOT

KEPT = ROOT / "docs/job.schema.json"
SMALLEST: dict[str, Any] = {
    "name": "a",
    "input": {"url": "a.csv"},
    "request": {"model": "m", "user": "{{ text }}"},
    "output": {"url": "out"},
}


def mistakes(values: object) -> list[str]:
    return [error.message for error in Draft7Validator(editor_schema()).iter_errors(values)]  # pyright: ignore


def test_the_kept_schema_is_the_models():
    assert json.loads(KEPT.read_text()) == editor_schema(), "run: make schema"


def test_the_schema_is_one_that_editors_read():
    Draft7Validator.check_schema(editor_schema())


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda path: path.name)
def test_an_editor_underlines_nothing_in_our_jobs(path: Any):
    values = yaml.safe_load(path.read_text())
    if "request" in values:
        assert mistakes(values) == []


def test_an_editor_underlines_nothing_in_the_job_of_the_readme():
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    jobs = [values for text in blocks if {"name", "input", "request", "output"} <= {*(values := yaml.safe_load(text))}]

    assert jobs
    assert [mistakes(values) for values in jobs] == [[]] * len(jobs)


def test_an_editor_takes_the_whole_job_as_the_model_writes_it():
    whole = parse_job(SMALLEST).model_dump(mode="json")

    assert mistakes(whole) == []  # null among the values too


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"modle": "x"}, "modle", id="unknown-key"),
        pytest.param({"limits": {"max_concurency": 1}}, "max_concurency", id="unknown-key-in-a-section"),
        pytest.param({"limits": {"max_concurrency": 0}}, "0", id="out-of-bounds"),
        pytest.param({"name": "With Blanks"}, "With Blanks", id="name"),
        pytest.param({"task_runner": "spark"}, "spark", id="choice"),
    ],
)
def test_an_editor_underlines_a_mistake(changes: dict[str, Any], named: str):
    assert any(named in mistake for mistake in mistakes({**SMALLEST, **changes}))
