"""Answers don't stay unsaved because a timer went off while others were written."""

import asyncio
import threading
from decimal import Decimal
from typing import cast

import pyarrow as pa
import pytest

from promptmill.checkpoints import saver
from promptmill.checkpoints.saver import Saver
from promptmill.checkpoints.store import Store
from promptmill.records import Failure, Usage


class SlowStore:
    """Writes once it is let."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.written: list[int] = []

    def save_rows(self, key: str, table: pa.Table) -> str:
        self.may_write.wait(10)
        self.written.append(table.num_rows)
        return key


def failure(number: int) -> Failure:
    return Failure(
        custom_id=str(number),
        kind="timeout",
        message="late",
        http_status=None,
        attempts=1,
        response=None,
        usage=Usage(),
        cost_usd=Decimal(0),
        latency_seconds=None,
        answered_at=0.0,
    )


async def test_an_answer_that_came_while_others_were_written_is_saved_though_none_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saver, "_SAVE_SECONDS", 0.01)
    store = SlowStore()
    saving = Saver(cast(Store, store), "key", 50)
    await saving.add(failure(1))
    await asyncio.sleep(0.05)  # the first is being written
    await saving.add(failure(2))
    await asyncio.sleep(0.05)  # the timer of the second goes off

    store.may_write.set()
    async with asyncio.timeout(5):
        while len(store.written) < 2:
            await asyncio.sleep(0.01)

    assert store.written == [1, 1]
    await saving.close()
