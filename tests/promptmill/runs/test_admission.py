"""A chunk that only waits for its last answers keeps no other chunk from starting, within bounds."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from promptmill.planning.plan import Chunk
from promptmill.provider.transport import Credentials
from promptmill.runs.admission import Admission
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.engine import Engine
from promptmill.runs.run import answering
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, plan

Steps = list[Callable[[Admission], None]]


def began(key: str, size: int = 1_000) -> Callable[[Admission], None]:
    return lambda chunks: chunks.began(key, size)


def waits(key: str) -> Callable[[Admission], None]:
    return lambda chunks: chunks.waits(key)


@pytest.mark.parametrize(
    ("steps", "has_room"),
    [
        pytest.param([began("a")], True, id="below-the-number"),
        pytest.param([began("a"), began("b")], False, id="as-many-as-may-send"),
        pytest.param([began("a"), began("b"), waits("a")], True, id="one-waits-for-its-last-answers"),
        pytest.param([began("a"), began("b"), waits("a"), began("c")], False, id="its-place-is-taken"),
        pytest.param(
            [began("a"), began("b"), waits("a"), lambda chunks: chunks.sends("a")], False, id="it-sends-again"
        ),
        pytest.param([began("a"), began("b"), lambda chunks: chunks.ended("a")], True, id="one-has-ended"),
        pytest.param([began("a", 200_000_000), waits("a"), began("b")], False, id="too-many-bytes-wait"),
        pytest.param([began("a", 200_000_000)], True, id="large-chunks-up-to-the-number"),
        pytest.param([step for n in range(500) for step in (began(str(n)), waits(str(n)))], False, id="too-many-wait"),
        pytest.param([waits("a"), began("b")], True, id="a-chunk-that-wasnt-admitted"),
    ],
)
def test_another_chunk_starts_while_fewer_than_two_have_rows_to_send(steps: Steps, has_room: bool) -> None:
    chunks = Admission(2)

    for step in steps:
        step(chunks)

    assert chunks.has_room is has_room


async def test_chunks_with_rows_that_hang_let_the_next_chunks_start(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(hang=0.1, hang_seconds=0.5, fault_attempts=1)
    run = plan(make_job(60, chunk_rows=10, chunks_in_flight=1), credentials)
    under_way, most = 0, 0

    async def complete(engine: Engine, chunk: Chunk, rows: pa.Table) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await complete_chunk(engine, chunk, rows)
        under_way -= 1

    async with answering(run) as engine:
        await drive_chunks(engine, complete, complete)

    assert engine.progress.done == 60
    assert most > 1
