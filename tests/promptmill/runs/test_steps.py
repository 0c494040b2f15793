"""Steps beside the requests are shown while they last."""

import logging
import time

import pytest

from promptmill.errors import Interrupted
from promptmill.runs.steps import both, describe_step, showing_step


@pytest.mark.parametrize(
    ("rows", "total", "expected"),
    [
        pytest.param(0, None, "planning", id="begun"),
        pytest.param(1_200, None, "planning · 1,200 rows", id="of-unknown-length"),
        pytest.param(0, 2_000, "planning · 0 of 2,000 rows", id="begun-of-all"),
        pytest.param(1_200, 2_000, "planning · 1,200 of 2,000 rows", id="of-all"),
    ],
)
def test_a_step_is_told_in_a_line(rows: int, total: int | None, expected: str) -> None:
    assert describe_step("planning", rows, total) == expected


def test_a_short_step_leaves_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "promptmill"), showing_step("publishing", 3) as tell:
        tell(3)

    assert caplog.messages == []


def test_a_long_step_says_in_the_log_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    until = time.monotonic() + 5
    with caplog.at_level(logging.INFO, "promptmill"), showing_step("publishing", 5, waits=[0.05, 60]) as tell:
        tell(3)
        while not caplog.messages:
            assert time.monotonic() < until
            time.sleep(0.01)

    assert caplog.messages == ["publishing · 3 of 5 rows"]


def test_what_one_listener_raises_ends_the_work() -> None:
    told: list[int] = []

    def refuse(rows: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        both(told.append, refuse, told.append)(7)
    assert told == [7]
