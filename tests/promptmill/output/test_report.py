"""What the report gathers and where it leads; how it looks is in test_report_in_browser.py."""

from collections import Counter
from itertools import pairwise
from math import log10
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.job.spec import Job
from promptmill.output.report.accuracy import Agreement
from promptmill.output.report.distributions import Values
from promptmill.output.report.drawing import log_ticks
from promptmill.output.report.links import input_links
from promptmill.output.report.plots import plot_retries, retry_bars
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, carry_out


@given(st.floats(1e-3, 1e7), st.floats(1.02, 1e6))
def test_labels_of_a_logarithmic_axis_stand_apart(low: float, ratio: float):
    ticks = log_ticks(low, low * ratio)
    places = [log10(tick / low) / log10(ratio) for tick in ticks]

    assert ticks
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert all(after - before >= 1 / 6 - 1e-9 for before, after in pairwise(places))


@pytest.mark.parametrize(
    ("answers", "told", "bars"),
    [
        pytest.param(
            ["a", "b", "a", None, "a"] * 3,
            "2 different values, 75.0 % of them a, 3 null",
            [("a", "9", 100.0), ("b", "3", 33.3)],
            id="labels",
        ),
        pytest.param(
            [True, False, True, True],
            "2 different values, 75.0 % of them true",
            [("true", "3", 100.0), ("false", "1", 33.3)],
            id="booleans",
        ),
        pytest.param(
            [1, 2, 1, 1], "2 different values, 75.0 % of them 1", [("1", "3", 100.0), ("2", "1", 33.3)], id="ratings"
        ),
        pytest.param(
            [["x", "y"], ["x"], ["x"], []],
            "2 different values, 75.0 % of them x",
            [("x", "3", 100.0), ("y", "1", 33.3)],
            id="lists",
        ),
        pytest.param([f"text {n}" for n in range(50)], "50 different values: free text", [], id="texts"),
        pytest.param(
            [f"text {n}" for n in range(2_000)], "more than 1,000 different values: free text", [], id="many-texts"
        ),
    ],
)
def test_answers_of_a_column_are_told_in_words_and_bars(
    answers: list[object], told: str, bars: list[tuple[str, str, float]]
):
    values = Values("column")
    for answer in answers:
        values.add(answer)
    found = values.distribution

    assert found is not None
    assert found.told == told
    assert [(bar.label, bar.rows, bar.width) for bar in found.bars] == bars


def label_of(number: float) -> str:
    """Numbers that share it may be told as one: six digits count, and what is next to nothing is zero."""
    return f"{number:.3g}" if abs(number) > 1e-299 else "0"


@given(st.lists(st.floats(-1e12, 1e12), min_size=10, max_size=200, unique_by=label_of))
def test_numbers_are_told_by_range_and_each_falls_into_a_bar(numbers: list[float]):
    values = Values("column")
    for number in numbers:
        values.add(number)
    found = values.distribution

    assert found is not None
    assert found.told.endswith("on average")
    assert sum(int(bar.rows) for bar in found.bars) == len(numbers)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers().map(lambda n: n * 10**400) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
)


@given(st.lists(st.floats() | JSON, max_size=30))
def test_whatever_a_model_answers_can_be_told(answers: list[object]):
    values = Values("column")
    for answer in answers:
        values.add(answer)

    assert (values.distribution is None) is (not answers)


def test_a_column_keeps_little_of_very_many_numbers():
    values = Values("column")
    for number in range(20_000):
        values.add(number / 7)
    found = values.distribution

    assert found is not None
    assert found.told == "0 to 2.86k, 1.43k on average"
    assert sum(int(bar.rows.replace(",", "")) for bar in found.bars) == pytest.approx(20_000, abs=10)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcde"), st.integers(0, 20_000).map(lambda n: n * 5)), st.integers(1, 9), min_size=1
    )
)
def test_no_retry_is_left_out_of_the_bars(by_time: dict[tuple[str, int], int]):
    edges, counts = retry_bars(by_time, ["a", "b"])
    kinds = Counter[str]()
    for (kind, _), times in by_time.items():
        kinds["other kinds" if kind > "b" else kind] += times

    assert len(edges) <= 31
    assert {kind: int(amounts.sum()) for kind, amounts in counts.items()} == kinds
    assert edges[-1] >= max(at for _, at in by_time) - min(at for _, at in by_time)


def test_a_plot_of_retries_names_the_status_that_people_know():
    plot = plot_retries({("rate_limited", 100): 3, ("timeout", 105): 1})

    assert plot is not None
    assert plot.caption == "Attempts that failed and that another followed: 3 rate_limited (429), 1 timeout."
    assert plot_retries({}) is None


def test_few_mistakes_of_each_pair_of_labels_serve_as_examples():
    agreement = Agreement("label", "known", None)
    found = agreement.add(["a", "A ", "b", None], ["a", "a", "a", "b"]) + agreement.add(
        ["b"] * 5, ["a", "a", "a", "c", ""]
    )

    assert [(mistake.place, mistake.known, mistake.answered) for mistake in found] == [
        (2, "b", "a"),
        (0, "b", "a"),
        (3, "b", "c"),
        (4, "b", "(nothing)"),
    ]


@pytest.mark.parametrize(
    ("url", "output", "href"),
    [
        pytest.param("data/in.csv", "data/out/x", "../../in.csv", id="beside"),
        pytest.param("/data/my rows.csv", "/data/out", "../my%20rows.csv", id="absolute"),
        pytest.param("https://host/a.csv", "s3://lake/out", "https://host/a.csv", id="web"),
        pytest.param("s3://lake/in/", "s3://lake/out", None, id="bucket"),
        pytest.param("data/*.csv", "out", None, id="pattern"),
        pytest.param("javascript:alert(1)", "out", "../javascript%3Aalert%281%29", id="no-script"),
    ],
)
def test_a_link_leads_to_the_input_where_a_browser_can_open_it(url: str, output: str, href: str | None):
    job = Job.model_validate(
        {"name": "a", "input": {"url": url}, "request": {"model": "m", "user": "{{ a }}"}, "output": {"url": output}}
    )

    assert [link.href for link in input_links(job)] == [href]


async def test_the_report_shows_answers_as_fields_mistakes_links_and_commands(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(["good", None, "<b>"], output__compare={"label": "text"}, request__user="{{ text + '' }}")
    await carry_out(job, credentials)
    page = Path(job.output.url, "_report.html").read_text()

    assert all(f"<dt>{name}</dt>" in page for name in ("label", "score"))
    assert "known <b>&lt;b&gt;</b>, answered" in page
    assert '<a href="_manifest.json">' in page
    assert '<a href="../rows.parquet">' in page
    assert "promptmill run job.yaml --retry-failed" in page
    assert "<script" not in page
