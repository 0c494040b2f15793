"""How many files the answers of a chunk are saved in on their way, by the code that decides it in a run: the saver.

One worker with the job's chunks in flight, whose answers come at an even pace and for any of the chunks under way.
"""

import asyncio
import random
from decimal import Decimal
from typing import Any, cast

from benchmarks.scale.virtual_clock import run_virtually
from promptmill.checkpoints.saver import Saver
from promptmill.checkpoints.store import Store
from promptmill.records import Completion, Usage

_CHUNKS = 8  # looked at, after as many as are under way at once


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
    store, chance = _Counting(), random.Random(1)
    places = asyncio.Semaphore(checkpoint_rows * chunks_in_flight)

    def begin(number: int) -> Saver:
        return Saver(cast(Store, store), f"{number}", checkpoint_rows, shared_places=places)

    open_chunks = [(begin(number), [chunk_rows]) for number in range(chunks_in_flight)]
    ended = 0
    while ended < _CHUNKS:
        saver, left = chance.choice(open_chunks)
        await saver.add(_ANSWER)
        left[0] -= 1
        if not left[0]:
            saver.hurry()
            await saver.close()
            ended += 1
            open_chunks.remove((saver, left))
            open_chunks.append((begin(chunks_in_flight + ended), [chunk_rows]))
        await asyncio.sleep(1 / rows_a_second)
    under_way = sum(chunk_rows - left[0] for _, left in open_chunks) / chunk_rows
    return store.files / (ended + under_way)


_ANSWER = Completion("0" * 41, "positive", None, "m", "stop", Usage(160, 0, 40), Decimal(0), 2.0, 1, "r", 0.0)
