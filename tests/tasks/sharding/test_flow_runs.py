"""Shards as Prefect runs: what is made of the states that the server tells."""

import asyncio
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingConcurrencySlot, Crashed, Late, Pending, Running, Scheduled, Submitting

from promptmill.sharding.plan import Ended
from tasks.sharding.flow_runs import PENDING_SECONDS, ShardRun, ShardRuns
from tasks.sharding.supervisor import STEP_SECONDS
from tests.support.clock import run_on_clock


class Server:
    """A Prefect server with one run, taken by a worker that never begins it."""

    def __init__(self, state: State[Any], is_deleted: bool = False) -> None:
        self.run = FlowRun(flow_id=uuid4(), name="reviews: rows 1 to 20", state=state)
        self.set_at: float | None = None
        self._is_deleted = is_deleted

    async def read_flow_runs(self, **_: Any) -> list[FlowRun]:
        """The run."""
        return [self.run]

    async def set_flow_run_state(self, identity: UUID, state: State[Any]) -> None:
        """Any state follows any other here."""
        assert identity == self.run.id
        self.set_at = asyncio.get_running_loop().time()
        if self._is_deleted:
            raise ObjectNotFound(Exception("404"))
        self.run.state = state


def look_for(server: Server, seconds: float, then: Callable[[float], None] = lambda _: None) -> dict[int, Ended]:
    """What the last look finds; `then` is told the time after each."""

    async def scenario() -> dict[int, Ended]:
        runs, found = ShardRuns(cast(PrefectClient, server), "tag"), dict[int, Ended]()
        runs._runs[0] = ShardRun(server.run.id)
        while (now := asyncio.get_running_loop().time()) <= seconds:
            found = await runs.ended()
            then(now)
            await asyncio.sleep(STEP_SECONDS)
        return found

    return run_on_clock(scenario())


@pytest.mark.parametrize("state", [pytest.param(Pending(), id="pending"), pytest.param(Submitting(), id="submitting")])
def test_a_run_that_was_taken_and_never_begun_is_given_up(state: State[Any], caplog: pytest.LogCaptureFixture):
    server = Server(state)
    found = look_for(server, PENDING_SECONDS + 10)

    assert found == {0: "crashed"}
    assert server.set_at == PENDING_SECONDS
    assert "reviews: rows 1 to 20: A worker took it and didn't begin it within 300 s." in caplog.text


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(Scheduled(), id="scheduled"),
        pytest.param(Late(), id="late"),
        pytest.param(AwaitingConcurrencySlot(), id="no-slot-for-it"),
        pytest.param(Running(), id="at-work"),
        pytest.param(Crashed(), id="over"),
    ],
)
def test_no_other_state_is_ended(state: State[Any]):
    server = Server(state)
    look_for(server, 3 * PENDING_SECONDS)

    assert server.set_at is None


def test_a_worker_that_gets_on_with_a_run_is_given_time_anew():
    server = Server(Pending())

    def get_on(now: float) -> None:
        if now == PENDING_SECONDS - 100:
            server.run.state = Submitting()

    look_for(server, PENDING_SECONDS + 100, get_on)

    assert server.set_at is None


def test_a_run_that_is_deleted_while_it_is_given_up_is_no_error():
    server = Server(Pending(), is_deleted=True)

    assert look_for(server, PENDING_SECONDS + 10) == {}
    assert server.set_at is not None


@pytest.mark.parametrize(
    ("state", "waiting"), [pytest.param(Late(), 1, id="nobody-took-it"), pytest.param(Pending(), 0, id="taken")]
)
def test_a_run_waits_for_a_worker_until_one_takes_it(state: State[Any], waiting: int):
    async def scenario() -> int:
        server = Server(state)
        runs = ShardRuns(cast(PrefectClient, server), "tag")
        runs._runs[0] = ShardRun(server.run.id)
        await runs.ended()
        return runs.waiting

    assert run_on_clock(scenario()) == waiting
