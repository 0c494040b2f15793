"""What a run and its children say to each other is read as it was meant."""

import pytest

from promptmill.errors import BudgetExhausted
from promptmill.sharding.plan import Outcome
from promptmill.standalone.messages import END, REPORT, outcome_line, part_line, part_of


@pytest.mark.parametrize(
    ("line", "part"),
    [
        pytest.param(part_line(1 / 3), pytest.approx(1 / 3), id="a-part"),
        pytest.param(END, None, id="the-end"),
        pytest.param(b"", None, id="the-run-is-gone"),
    ],
)
def test_a_line_to_a_child(line: bytes, part: float | None) -> None:
    assert part_of(line) == part


def test_an_outcome_keeps_the_kind_of_its_error() -> None:
    stored = REPORT.validate_json(outcome_line(Outcome(None, BudgetExhausted("all is spent")))).outcome
    assert stored is not None
    outcome = stored.outcome()

    assert isinstance(outcome.error, BudgetExhausted)
    assert str(outcome.error) == "all is spent"
