"""What `check` shows of the first prompt."""

import pytest

from flows.command.check_page import describe_properties
from flows.command.doing import Doing
from flows.command.local import check_job
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob


@pytest.mark.parametrize(
    ("is_full", "shown", "hidden"),
    [
        pytest.param(False, "Label: «first»\n", '"messages"', id="as-a-text"),
        pytest.param(True, '"messages"', "«", id="as-it-is-sent"),
    ],
)
def test_check_shows_the_first_prompt_that_can_be_sent(
    is_full: bool,
    shown: str,
    hidden: str,
    make_job: MakeJob,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    job = make_job([None, "first", "second"], request__user="Label: {{ text + '' }}")
    check_job(job, Doing(None), is_full=is_full)
    told = capfd.readouterr().out

    assert shown in told
    assert hidden not in told


ITEM = {"type": "object", "properties": {"name": {"type": "string"}, "price": {"type": "number"}}}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        pytest.param({"enum": ["a", "b"]}, "x: a | b", id="values"),
        pytest.param({"enum": list(range(9))}, "x: 0 | 1 | 2 | 3 | 4 | 5 | …", id="many-values"),
        pytest.param({"type": ["string", "null"]}, "x: string or null", id="types"),
        pytest.param({"type": "array", "items": {"type": "number"}}, "x: list of number", id="list"),
        pytest.param({"anyOf": [{"type": "string"}, {"type": "null"}]}, "x: string or null", id="any-of"),
        pytest.param({"$ref": "#/$defs/unknown"}, "x: anything", id="a-reference-that-leads-nowhere"),
        pytest.param({"$ref": "#/$defs/Item"}, "x: {name, price}", id="reference"),
        pytest.param(
            {"type": "array", "items": {"$ref": "#/$defs/Item"}}, "x: list of {name, price}", id="list-of-items"
        ),
        pytest.param({"type": "object"}, "x: object", id="an-object-of-any-kind"),
        pytest.param(True, "x: anything", id="true"),
    ],
)
def test_a_schema_is_folded_into_a_line(schema: object, told: str):
    assert describe_properties({"x": schema}, {"Item": ITEM}) == told
