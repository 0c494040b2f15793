"""Names of runs in Prefect's lists: the job and its rows, unless a person named the run."""

import pytest

from tasks.run.run_name import next_name, tags_of
from tests.support.jobs import MakeJob


@pytest.mark.parametrize(
    ("name", "detail", "expected"),
    [
        pytest.param("meek-loon", None, "reviews", id="made-up-by-the-server"),
        pytest.param("Rustic-Alpaca", "1,200 rows", "reviews · 1,200 rows", id="made-up-by-the-form"),
        pytest.param("reviews", "1,200 rows", "reviews · 1,200 rows", id="counted"),
        pytest.param("reviews · 900 rows", "1,200 rows", "reviews · 1,200 rows", id="next-attempt-with-more-rows"),
        pytest.param("for Ann", "1,200 rows", "for Ann", id="a-persons"),
        pytest.param("nightly-reviews", "1,200 rows", "nightly-reviews", id="a-program-looks-for-it"),
        pytest.param("reviews-2", "5 rows", "reviews-2", id="only-begins-alike"),
    ],
)
def test_a_run_is_named_after_its_job_unless_somebody_named_it(name: str, detail: str | None, expected: str) -> None:
    assert next_name(name, "reviews", detail) == expected


def test_a_run_is_tagged_with_what_people_look_for(make_job: MakeJob) -> None:
    assert tags_of(make_job(1, tags={"team": "search"})) == ["test", "gpt-6-luna", "team: search"]
