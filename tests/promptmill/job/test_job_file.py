"""What a person types: a prompt without quotes, a relative path, an address with a date."""

from datetime import date
from pathlib import Path

import pytest

from promptmill.batch.entry_trust import require_followable
from promptmill.errors import JobError, SetupError
from promptmill.job.file import load_job
from promptmill.job.spec import Job
from promptmill.planning.prepared_job import resolve_output


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        pytest.param("request:\n  model: m\n  user: {{ text }}\n", 'In line 3 .* user: "{{ text }}"', id="alone"),
        pytest.param("request:\n  user: {{ text }} is good\n", "In line 2", id="first"),
        pytest.param("request:\n  user: Classify: {{ text }}\n", "In line 2", id="after-a-colon"),
        pytest.param("request:\n  user: {% if text %}a{% endif %}\n", "In line 2", id="condition"),
        pytest.param("messages:\n  - {{ text }}\n", 'In line 2 .* - "{{ text }}"', id="in-a-list"),
        pytest.param("- role: user\n  content: {{ text }}\n", "In line 2", id="message"),
        pytest.param("request: {user: {{ text }}}\n", "In line 1", id="in-braces"),
        pytest.param(
            'a: "{{ text }}"\nb: |\n  {{ text }}\nc: [\n', "Fix it and try again", id="quoted-and-something-else"
        ),
    ],
)
def test_template_without_quotes_is_answered_with_what_to_write(tmp_path: Path, content: str, advice: str) -> None:
    (tmp_path / "job.yaml").write_text(content)

    with pytest.raises(JobError, match=f"isn't YAML: [^$]*{advice}"):
        load_job(str(tmp_path / "job.yaml"))


def test_relative_path_of_a_job_is_told_as_the_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(JobError) as caught:
        load_job("jobs/missing.yaml")
    assert f"{tmp_path}/jobs/missing.yaml" in str(caught.value)


def job_over(url: str | list[str]) -> Job:
    """A job over an input."""
    request = {"model": "m", "user": "{{ text }}"}
    output = {"url": "memory://out/{{ input_name }}"}
    return Job.model_validate({"name": "j", "input": {"url": url}, "request": request, "output": output})


@pytest.mark.parametrize(
    ("url", "source", "stem"),
    [
        pytest.param("memory://in/{{ date }}.csv", "memory://in/2026-11-24.csv", "2026-11-24", id="date"),
        pytest.param("memory://{{ job }}/a.csv", "memory://j/a.csv", "a", id="job"),
        pytest.param("memory://in/a [x].csv", "memory://in/a [x].csv", "a [x]", id="no-template"),
        pytest.param(
            ["memory://a/{{ date }}.csv", "b.csv", "{{ job }}/*.csv"],
            ["memory://a/2026-11-24.csv", "b.csv", "j/*.csv"],
            "2026-11-24",
            id="list",
        ),
        pytest.param("https://h/in.parquet?sig=a.b/c.d", "https://h/in.parquet?sig=a.b/c.d", "in", id="query"),
    ],
)
def test_input_may_be_named_by_the_day(url: str | list[str], source: str | list[str], stem: str) -> None:
    found = resolve_output(job_over(url), date(2026, 11, 24))

    assert (found.input.url, found.output.url) == (source, f"memory://out/{stem}")


@pytest.mark.parametrize("others", [[], ["s3://lake/a.csv"]], ids=["alone", "in-a-list"])
def test_registered_job_of_a_stranger_has_no_template_for_its_input(others: list[str]) -> None:
    with pytest.raises(SetupError, match="is a template"):
        require_followable(job_over([*others, "{{ 'http' }}://host/a.csv"]), is_ours=False, named=None)
