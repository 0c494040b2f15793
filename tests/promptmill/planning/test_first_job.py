"""The first job file is a job, whatever the data's columns are called and whatever a person answers."""

from decimal import Decimal

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from promptmill.job.file import parse_job
from promptmill.planning.first_job import Seen, Wishes, guess, job_text, name_of
from promptmill.prompts.templates import RowTemplate, row_values

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAME = TEXT.filter(lambda text: bool(text.strip()))


def written(wishes: Wishes, seen: Seen):
    return yaml.safe_load(job_text(wishes, seen, "promptmill.schema.json"))


@given(
    st.builds(
        Wishes,
        data=NAME,
        instruction=TEXT.filter(lambda text: "{{" not in text),
        model=NAME,
        labels=st.lists(NAME, max_size=4, unique=True).map(tuple),
        budget_usd=st.none() | st.decimals(0, 1000, places=2),
    ),
    st.lists(NAME, min_size=2, max_size=5, unique=True).map(tuple),
    st.booleans(),
)
def test_the_file_has_what_a_person_answered(wishes: Wishes, columns: tuple[str, ...], has_known: bool):
    known = columns[1] if has_known else None
    seen = Seen(columns, columns[0], columns[0], known, wishes.labels[:1] if has_known else ())
    found = written(wishes, seen)
    job = parse_job({**found, "input": {**found["input"], "url": "a.csv"}})

    assert found["input"]["url"] == wishes.data
    assert (job.input.id_column, job.request.system) == (columns[0], wishes.instruction)
    assert (job.request.model, job.budget_usd) == (wishes.model, wishes.budget_usd)
    assert (job.request.response_schema is not None) is bool(wishes.labels)
    if wishes.labels:
        (choices,) = found["request"]["response_schema"]["properties"].values()
        assert choices["enum"] == list(wishes.labels)


def test_an_instruction_that_names_a_column_is_the_whole_prompt():
    found = written(Wishes("a.csv", "Is {{ text }} good?", "m"), Seen(("text", "other"), "text"))

    assert found["request"]["user"] == "Is {{ text }} good?"
    assert "system" not in found["request"]


@pytest.mark.parametrize(
    "column",
    ["text", "a column", 'with "quotes"', "ünicode", "in\nlines", "1st", "{{ x }}", "none", "Self", "_x", "range"],
)
def test_the_prompt_shows_the_text_whatever_its_column_is_called(column: str):
    found = written(Wishes("a.csv", "", "m"), Seen((column, "other"), column))
    template = RowTemplate("request.user", found["request"]["user"], [column, "other"])
    values = row_values({column: "hello", "other": "no"}, [column, "other"], needs_row=template.needs_row)

    assert template.render(values) == "hello"


@pytest.mark.parametrize(
    ("table", "seen"),
    [
        pytest.param(
            {"id": [1, 2, 3, 4], "text": ["a", "b", "c", "d"], "label": ["x", "y", "x", "y"]},
            Seen(("id", "text", "label"), "text", "id", "label", ("x", "y")),
            id="ticket-system",
        ),
        pytest.param({"a": ["short", "s"], "b": ["a longer text", "t"]}, Seen(("a", "b"), "b"), id="longest-column"),
        pytest.param({"id": [1, 1], "text": ["a", "b"]}, Seen(("id", "text"), "text"), id="an-id-that-repeats"),
        pytest.param(
            {"user_id": [1, None], "text": ["a", "b"]}, Seen(("user_id", "text"), "text"), id="an-id-with-null"
        ),
        pytest.param(
            {"orderId": ["k1", "k2"], "body": ["a", "b"]}, Seen(("orderId", "body"), "body", "orderId"), id="camel-case"
        ),
        pytest.param(
            {"text": ["a", "b"], "category": ["x", "y"]},
            Seen(("text", "category"), "text"),
            id="labels-of-one-row-each",
        ),
        pytest.param({"number": [1, 2]}, Seen(("number",), "number"), id="no-text-at-all"),
        pytest.param({"paid": ["x"], "valid": ["y"]}, Seen(("paid", "valid"), "paid"), id="words-that-end-like-id"),
    ],
)
def test_the_rows_suggest_what_a_person_would_see(table: dict[str, list[object]], seen: Seen):
    assert guess(pa.table(table)) == seen


@pytest.mark.parametrize(
    ("labels", "is_compared"),
    [
        pytest.param(("x", "y"), True, id="the-same"),
        pytest.param(("x", "y", "other"), True, id="more"),
        pytest.param(("good", "bad"), False, id="others"),
        pytest.param((), False, id="own-words"),
    ],
)
def test_answers_are_compared_where_they_can_agree(labels: tuple[str, ...], is_compared: bool):
    found = written(Wishes("a.csv", "", "m", labels), Seen(("t", "label"), "t", None, "label", ("x", "y")))

    assert found["output"].get("compare") == ({"label": "label"} if is_compared else None)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("Tickets 2026.csv", "tickets-2026"),
        ("s3://lake/reviews/", "reviews"),
        ("https://host/a_b.csv?sig=secret", "a-b"),
        ("*.parquet", "answers"),
    ],
)
def test_the_job_is_named_after_its_input(data: str, name: str):
    assert name_of(data) == name
    assert written(Wishes(data, "", "m", (), Decimal(1)), Seen(("t",), "t"))["name"] == name
