"""Stops a run if too many of the rows that batches answered have failed."""

from collections.abc import Sequence

from promptmill.batch.record import BatchRecord
from promptmill.errors import TooManyFailures
from promptmill.runs.progress import JUDGED_ROWS


def judge_failures(batches: Sequence[BatchRecord], max_failure_ratio: float) -> None:
    """Raises TooManyFailures if more rows failed than the job allows, so that no more rows are submitted."""
    records = [record for record in batches if record.state == "collected"]
    seen, failed = sum(record.answered for record in records), sum(record.refused for record in records)
    if seen >= JUDGED_ROWS and failed > max_failure_ratio * seen:
        raise TooManyFailures.with_way_on(
            f"{failed:,} of {seen:,} rows that batches answered failed; the limit is {max_failure_ratio:.1%} "
            "(max_failure_ratio).",
            is_passing=False,
        )
