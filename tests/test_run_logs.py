"""Our log lines: sent to the run they belong to, and to nobody outside of one."""

import logging

from tasks.run_logs import quiet_expected_errors


def test_a_line_outside_of_a_run_is_sent_to_no_run():
    """Warnings are errors here: Prefect warns of a line that it can't place."""
    quiet_expected_errors()

    logging.getLogger("promptmill").warning("nobody runs")
