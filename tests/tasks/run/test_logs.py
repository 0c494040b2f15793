"""Our log lines: sent to the run they belong to, and to nobody outside of one."""

import logging

import pytest
from prefect.exceptions import SerializationError

from tasks.run.logs import quiet_expected_errors


def test_a_line_outside_of_a_run_is_sent_to_no_run():
    """Warnings are errors here: Prefect warns of a line that it can't place."""
    quiet_expected_errors()

    logging.getLogger("promptmill").warning("nobody runs")


@pytest.mark.parametrize(
    ("reason", "is_told"), [(SerializationError("an error isn't JSON"), False), (OSError("no room"), True)]
)
def test_only_a_result_that_is_really_lost_is_told_of(reason: Exception, is_told: bool):
    """Asked of the logger's filters and not logged: Prefect's own handler may be there, and warns outside of a run."""
    quiet_expected_errors()
    record = logging.LogRecord("", logging.WARNING, "", 0, "Failed to write result: %s", (reason,), None)

    assert bool(logging.getLogger("prefect.task_runs").filter(record)) is is_told
