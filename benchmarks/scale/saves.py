"""How many files the answers of a chunk are saved in on their way, by the code that decides it in a run: the saver.

One worker, whose answers come at an even pace. Its chunks send one after the other, as in a run (runs/chunk_sending.py).
"""

import asyncio
from decimal import Decimal
from typing import Any, cast

from benchmarks.scale.virtual_clock import run_virtually
from promptmill.checkpoints.saver import Room, Saver
from promptmill.checkpoints.store import Store
from promptmill.records import Completion, Usage

_CHUNKS = 8  # looked at


class _Counting:
    """Stands in for a store: it counts the files."""

    def __init__(self) -> None:
        self.files = 0

    def save_rows(self, key: str, answers: Any) -> str:
        """One more file."""
        self.files += 1
        return f"{key}-{self.files}"


def files_a_chunk(rows_a_second: float, chunk_rows: int, checkpoint_rows: int, chunks_in_flight: int) -> float:
    """Files of a chunk on its way, on average, at so many answers a second in one worker."""
    rows = min(chunk_rows, 1_000)  # of a longer chunk, more of the same
    found = run_virtually(_save(rows_a_second, rows, checkpoint_rows, chunks_in_flight))
    return found * chunk_rows / rows


async def _save(rows_a_second: float, chunk_rows: int, checkpoint_rows: int, chunks_in_flight: int) -> float:
    store, room = _Counting(), Room(checkpoint_rows * chunks_in_flight)
    for number in range(_CHUNKS):
        saver = Saver(cast(Store, store), f"{number}", room)
        for _ in range(chunk_rows):
            await saver.add(_ANSWER)
            await asyncio.sleep(1 / rows_a_second)
        saver.hurry()
        await saver.close()
    return store.files / _CHUNKS


_ANSWER = Completion("0" * 41, "positive", None, "m", "stop", Usage(160, 0, 40), Decimal(0), 2.0, 1, "r", 0.0)
