"""Shards that a dead run may have left at work, where no server can be asked; with one: tests/test_sharded_runs.py."""

import asyncio
from datetime import UTC, datetime
from typing import cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from promptmill.checkpoints.lease_claims import Holder
from promptmill.checkpoints.shard_lease import ShardLease, Stragglers
from promptmill.errors import SetupError
from promptmill.provider.transport import Credentials
from promptmill.runs.run import Run
from promptmill.sharding import leftovers as strays
from promptmill.sharding.folder import ShardFolder, folders, lease_name
from promptmill.sharding.split import split_run
from tasks.sharding.leftovers import Strays, end_strays, may_send, state_to_set
from tests.support.clock import run_on_clock
from tests.support.jobs import MakeJob, plan
from tests.support.lease_world import World


@pytest.fixture
def run(make_job: MakeJob, credentials: Credentials) -> Run:
    """A run over an output that another run has split before, which said no end of its shards."""
    planned = plan(make_job(40, shards=2), credentials)
    shards = split_run(planned)
    assert shards is not None
    ShardFolder(planned.prepared.store, "dead").write_plan(shards)
    return planned


async def test_without_a_server_to_ask_nothing_is_sent_beside_them(run: Run):
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(SetupError, match=r"PREFECT_API_URL isn't set here.*_checkpoints/shards/dead"),
    ):
        await end_strays(run)


async def test_those_on_a_cluster_are_told_by_the_pulse_that_stops(run: Run, monkeypatch: pytest.MonkeyPatch):
    folder = ShardFolder(run.prepared.store, "dead")
    folder.beat(1)
    monkeypatch.setattr(strays, "_PULSED_SECONDS", 0.1)
    monkeypatch.setattr(strays, "PULSE_SECONDS", 0.1)
    with temporary_settings({PREFECT_API_URL: None}):
        await end_strays(run)

    assert folder.pulse() is None
    assert folders(run.prepared.store) == []


async def test_the_shards_of_the_run_itself_are_left_at_work(run: Run):
    folder = ShardFolder(run.prepared.store, "dead")
    with temporary_settings({PREFECT_API_URL: None}):
        await end_strays(run, kept=folder.plan_url)

    assert folder.read_plan() is not None


def test_a_shard_may_send_while_its_lease_lives_or_its_run_is_this_one() -> None:
    living, shard = ["shard 1 of the flow run a"], {"plan_url": "file:///out/shards/a-01/plan.json", "attempt": 1}

    assert may_send(shard | {"shard": 1}, living, "b")
    assert not may_send(shard | {"shard": 0}, living, "b")
    assert may_send(shard | {"shard": 0}, living, "a")
    assert not may_send(shard | {"shard": 0}, living, "")
    assert may_send({"plan_url": "elsewhere", "shard": 1}, [], "b")


@pytest.mark.parametrize(
    ("kind", "at_work", "dead"),
    [
        pytest.param(StateType.RUNNING, StateType.CANCELLING, StateType.CRASHED, id="running"),
        pytest.param(StateType.CANCELLING, None, StateType.CANCELLED, id="cancelling"),
        pytest.param(StateType.PENDING, StateType.CANCELLING, StateType.CANCELLED, id="pending"),
        pytest.param(StateType.SCHEDULED, StateType.CANCELLING, StateType.CANCELLED, id="scheduled"),
    ],
)
def test_what_the_server_is_told_of_a_stray(kind: StateType, at_work: StateType | None, dead: StateType) -> None:
    found = [state_to_set(kind, is_at_work) for is_at_work in (True, False)]

    assert [None if state is None else state.type for state in found] == [at_work, dead]


class Server:
    """Keeps the runs of two shards of the flow run a; a worker ends the one that lives some seconds after it is told."""

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.states: dict[int, StateType] = dict.fromkeys((0, 1), StateType.RUNNING)
        self.runs = {
            shard: FlowRun(
                flow_id=uuid4(),
                name=f"shard {shard}",
                parameters={"plan_url": "/o/shards/a-01/plan.json", "shard": shard},
            )
            for shard in self.states
        }

    async def read_flow_runs(self, **chosen: object) -> list[FlowRun]:
        """Those that haven't ended."""
        del chosen
        if asyncio.get_running_loop().time() >= self.ends_at:
            self.states[1] = StateType.CANCELLED
        return [
            self.runs[shard].model_copy(update={"state": State(type=kind)})
            for shard, kind in self.states.items()
            if kind in (StateType.RUNNING, StateType.CANCELLING)
        ]

    async def set_flow_run_state(self, run_id: UUID, state: State) -> None:
        """As the run's worker would see it."""
        shard = next(shard for shard, run in self.runs.items() if run.id == run_id)
        self.states[shard] = state.type


def ended_among(server: Server, living: Stragglers) -> float:
    """Ends the shards for another run; after how many seconds."""

    async def end() -> float:
        began = asyncio.get_running_loop().time()
        await Strays(cast(PrefectClient, server), "a tag", living, "b").end(kept=None)
        return asyncio.get_running_loop().time() - began

    return run_on_clock(end())


def of_flow_run_a(pid: int, shard: int) -> Holder:
    return Holder("", lease_name("a", shard), "host", "machine", pid, datetime.now(UTC), "a")


@pytest.mark.parametrize(
    ("is_gone", "seconds", "ends"),
    [
        pytest.param(True, (0.0, 1.0), [StateType.CRASHED, StateType.CRASHED], id="all-killed"),
        pytest.param(False, (30.0, 40.0), [StateType.CRASHED, StateType.CANCELLED], id="one-lives"),
    ],
)
def test_only_a_shard_whose_lease_lives_is_waited_for(
    is_gone: bool, seconds: tuple[float, float], ends: list[StateType]
) -> None:
    world, server = World(), Server(ends_at=30.0)
    parent = world.contender(1, run_id="a").attempt()
    assert parent is not None
    for pid, shard in ((2, 0), (3, 1)):
        ShardLease(world, of_flow_run_a(pid, shard), world.timing()).renew()
    world.gone = {1, 2, 3} if is_gone else {1, 2}
    us = Holder("", "another run", "host", "machine", 9, datetime.now(UTC), "b")

    took = ended_among(server, Stragglers(world, us, world.timing()))

    assert seconds[0] <= took <= seconds[1]
    assert list(server.states.values()) == ends
