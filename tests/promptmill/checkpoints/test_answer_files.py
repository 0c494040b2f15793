"""Which answer counts where a row has several."""

from decimal import Decimal

import pyarrow as pa

from promptmill.checkpoints.answer_files import answers_table, merge_answers
from promptmill.output.report.wording import REMEDIES
from promptmill.records import FAILURE_KINDS, Completion, Failure, FailureKind, Usage


def failure(kind: FailureKind, answered_at: float) -> pa.Table:
    """A table of one failure of the row "a"."""
    return answers_table([Failure("a", kind, "no", None, 1, None, Usage(), Decimal(0), None, answered_at)])


def success(answered_at: float) -> pa.Table:
    """A table of one answer of the row "a"."""
    return answers_table([Completion("a", "yes", None, "m", "stop", Usage(), Decimal(0), 0.1, 1, "id", answered_at)])


def test_a_success_counts_before_a_later_failure_and_of_failures_the_newest() -> None:
    old, new = failure("connection", 1.0), failure("timeout", 2.0)

    assert merge_answers([old, new])["kind"].to_pylist() == ["timeout"]
    assert merge_answers([new, old])["kind"].to_pylist() == ["timeout"]
    assert merge_answers([success(0.0), new, old])["kind"].to_pylist() == [None]
    assert merge_answers([]).num_rows == 0


def test_every_kind_of_failure_has_its_remedy() -> None:
    assert set(FAILURE_KINDS) == set(REMEDIES)
