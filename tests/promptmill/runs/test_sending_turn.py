"""Chunks under way send one after the other, so that their answers are saved in few files."""

import pytest

from promptmill.checkpoints.store import Store
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, carry_out


async def test_files_under_way_hold_as_many_answers_as_a_kill_may_lose_at_all(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four chunks that send side by side would save 5 to 10 answers at a time."""
    files = list[int]()
    save = Store.save_rows
    monkeypatch.setattr(
        Store, "save_rows", lambda store, key, table: [files.append(table.num_rows), save(store, key, table)][1]
    )
    simulator.configure(latency_seconds=0.01)

    await carry_out(
        make_job(640, chunk_rows=160, checkpoint_rows=10, chunks_in_flight=4, limits={"max_concurrency": 8}),
        credentials,
    )

    assert sum(files) == 640
    assert len(files) <= 640 / 20 + 2 * 4  # half a room each, and two smaller ones at the end of each chunk
    assert max(files) <= 40
