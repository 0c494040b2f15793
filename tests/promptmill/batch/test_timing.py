"""One step of the batches of a run with a deadline, by the run itself or by advance-batches."""

import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from promptmill.batch.api_errors import KeyRefused
from promptmill.batch.ledger import Ledger
from promptmill.batch.steering import run_of_batches
from promptmill.batch.timing import Timing, step_or_give_up
from promptmill.checkpoints.deadline_record import DeadlineRecord, write_deadline
from promptmill.errors import ProviderRefused
from promptmill.steering.order_files import OrderFiles, SteeredRun
from promptmill.storage import Storage


class RefusedBatches:
    """Batches of a run, whose step ends in an error."""

    def __init__(self, error: Exception, storage: Storage, timing: Timing | None) -> None:
        self.error, self.timing, self.clock = error, timing, time.time
        self.ledger, self.store = Ledger(storage).load(), SimpleNamespace(storage=storage)

    def step(self) -> None:
        raise self.error

    def cancel_live(self) -> None:
        """Nothing: no batch lives."""


NOW = datetime.now(UTC)
RECORD = DeadlineRecord("6h", "0" * 8, NOW, NOW + timedelta(hours=6), 60, 10.0)


@pytest.mark.parametrize(
    ("error", "has_deadline", "goes_on"),
    [
        pytest.param(ProviderRefused("no batches here"), True, True, id="goes-online"),
        pytest.param(ProviderRefused("no batches here"), False, False, id="no-deadline"),
        pytest.param(KeyRefused("a bad key"), True, False, id="a-bad-key-says-nothing-of-batches"),
    ],
)
def test_a_step_leaves_the_rows_to_be_asked_online_where_batches_are_refused(
    tmp_path: Path, error: Exception, has_deadline: bool, goes_on: bool
) -> None:
    timing = Timing(RECORD, 60.0) if has_deadline else None
    work: Any = RefusedBatches(error, Storage(str(tmp_path)), timing)
    with nullcontext() if goes_on else pytest.raises(type(error)):
        step_or_give_up(work)

    assert (work.ledger.state.moved_at > 0) is goes_on


@pytest.mark.parametrize(
    ("mode", "has_deadline", "hears"), [("online", True, True), ("online", False, False), ("batch", False, True)]
)
def test_steps_hear_the_orders_to_a_run_with_a_deadline(
    tmp_path: Path, mode: str, has_deadline: bool, hears: bool
) -> None:
    checkpoints = Storage(str(tmp_path))
    OrderFiles(checkpoints).begin(SteeredRun("0" * 12, "the run", mode, 1, 40, NOW, None, None))
    if has_deadline:
        write_deadline(checkpoints, RECORD)

    assert (run_of_batches(checkpoints) is not None) is hears
