"""A key at the wrong place, or by the name that it has elsewhere, is answered with its place."""

import pytest
from pydantic import ValidationError

from promptmill.job.elsewhere import PARAMETERS, USUAL_NAMES, places_of_keys
from promptmill.job.spec import Job

JOB = {
    "name": "j",
    "input": {"url": "a.csv"},
    "request": {"model": "m", "user": "{{ text }}"},
    "output": {"url": "out"},
}


def said_of(path: str) -> str:
    """What a job with this key is told."""
    section, _, key = path.rpartition(".")
    job = {**JOB, key: 1} if not section else {**JOB, section: {**JOB.get(section, {}), key: 1}}  # pyright: ignore
    with pytest.raises(ValidationError) as raised:
        Job.model_validate(job)
    return str(raised.value)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("prompt", "It belongs at request.user."),
        ("request.prompt", "It belongs at request.user."),
        ("model", "It belongs at request.model."),
        ("input.model", "It belongs at request.model."),
        ("request.budget_usd", "It belongs at budget_usd."),
        ("limits.timeout", "It belongs at retry.request_timeout_seconds."),
        ("request.temperature", "It belongs at request.parameters.temperature."),
        ("temperature", "It belongs at request.parameters.temperature."),
        ("url", "It belongs at input.url or output.url."),
        ("input.delimiter", "It belongs at input.csv.delimiter."),
        ("request.api_key", "Address and key don't stand in a job: set OPENAI_BASE_URL and OPENAI_API_KEY"),
        ("chunk_row", "Did you mean 'chunk_rows'?"),
        ("request.modle", "Did you mean 'model'?"),
        ("zzzz", "Known names: approve_above_usd"),
    ],
)
def test_an_unknown_key_is_told_its_place(path: str, said: str):
    assert said in said_of(path)


def test_each_place_that_is_named_exists_and_no_usual_name_is_a_key_of_the_job():
    places = {place for found in places_of_keys().values() for place in found}

    assert {place.partition(",")[0] for place in USUAL_NAMES.values()} <= places
    assert not {*USUAL_NAMES, *PARAMETERS} & {*places_of_keys()}
