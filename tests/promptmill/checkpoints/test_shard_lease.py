"""A run that takes an output over sends nothing before the shards of the run before it have stopped."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.checkpoints.lease_claims import Holder
from promptmill.checkpoints.output_lease import PERIOD_SECONDS, RENEW_SECONDS, VALID_SECONDS, OutputLease
from promptmill.checkpoints.output_turn import Asking, releasing, take_turn_at
from promptmill.checkpoints.shard_lease import ShardLease, Stragglers
from promptmill.errors import LeaseLost, OutputInUse, PromptmillError
from promptmill.storage import Storage
from tests.support.examples import examples
from tests.support.lease_world import Actor, World, interleave, pause


def who(pid: int, run_id: str) -> Holder:
    """A process that works for a flow run."""
    return Holder("", f"process {pid}", "host", "machine", pid, datetime.now(UTC), run_id)


def parent_of(world: World, pid: int = 1, run_id: str = "a") -> OutputLease:
    """The lease of a run that splits its dataset."""
    lease = world.contender(pid, run_id=run_id).attempt()
    assert lease is not None
    return lease


def shard_of(world: World, pid: int = 2, run_id: str = "a") -> ShardLease:
    """A shard of that run, which shows that it lives."""
    lease = ShardLease(world, who(pid, run_id), world.timing())
    lease.renew()
    return lease


def test_a_shard_may_send_while_its_run_holds_the_output() -> None:
    world = World()
    parent, shard = parent_of(world), shard_of(world)

    for _ in range(100):
        world.now += RENEW_SECONDS
        parent.renew()
        shard.renew()

    assert shard.is_valid
    assert parent.is_valid


@pytest.mark.parametrize(
    ("end", "said"),
    [
        pytest.param(lambda world: parent_of(world, 9, "b"), "run 9", id="taken-over"),
        pytest.param(lambda world: None, "run 1", id="ended"),
    ],
)
def test_a_shard_whose_run_lost_the_output_stops_at_its_next_renewal(end: Callable[[World], object], said: str) -> None:
    world = World()
    parent, shard = parent_of(world), shard_of(world)
    parent.release()
    end(world)

    with pytest.raises(LeaseLost, match=rf"{said} \(.*\) held it last"):
        shard.renew()
    assert not shard.is_valid
    with pytest.raises(LeaseLost):
        shard.require()


def test_a_shard_of_a_run_that_holds_nothing_does_not_begin() -> None:
    world = World()
    parent_of(world, run_id="b")

    with pytest.raises(LeaseLost):
        ShardLease(world, who(2, "a"), world.timing()).begin()


def test_the_next_attempt_of_the_run_goes_on_with_its_shards() -> None:
    world = World()
    parent_of(world)
    shard = shard_of(world)
    parent_of(world, pid=3)

    shard.renew()

    assert shard.is_valid
    assert Stragglers(world, who(3, "a"), world.timing()).first() is None


def test_a_run_waits_for_a_living_shard_until_it_ends() -> None:
    world = World()
    parent_of(world).release()
    stragglers = Stragglers(world, who(9, "b"), world.timing())
    shard = ShardLease(world, who(2, "a"), world.timing())
    parent_of(world, 3, "a")
    shard.renew()
    assert str(stragglers.first()).startswith("process 2 ")

    shard.release()

    assert stragglers.first() is None


@pytest.mark.parametrize(
    ("seconds", "is_there"),
    [pytest.param(VALID_SECONDS, True, id="valid"), pytest.param(PERIOD_SECONDS, False, id="silent")],
)
def test_a_run_waits_for_a_dead_shard_as_long_as_it_could_send(seconds: float, is_there: bool) -> None:
    world = World()
    parent_of(world)
    shard_of(world)
    stragglers = Stragglers(world, who(9, "b"), world.timing(offset=5_000.0))
    assert stragglers.first() is not None

    world.now += seconds

    assert (stragglers.first() is not None) == is_there
    assert is_there == any(name.startswith("lease/shards/") for name in world.objects)


def test_a_shard_that_died_on_this_machine_is_not_waited_for() -> None:
    world = World()
    parent_of(world)
    shard_of(world)
    world.gone.add(2)

    assert Stragglers(world, who(9, "b"), world.timing()).first() is None


class Shard(Actor):
    """A shard that begins, renews and ends as the test lets it."""

    def _run(self) -> None:
        try:
            lease = ShardLease(self.world, who(self.pid, "a"), self.timing)
            lease.renew()
            self.lease = lease
            for _ in range(4):
                pause()
                lease.require()
            pause()
            lease.release()
        except PromptmillError as error:
            self.error = error


class Follower(Actor):
    """A run of another flow that takes the output over and then waits for the shards."""

    def _run(self) -> None:
        try:
            while (lease := self.contender.attempt()) is None:
                pause()
            stragglers = Stragglers(self.world, who(self.pid, "b"), self.timing)
            while stragglers.first() is not None:
                pause()
                lease.require()
            self.lease = lease
            pause()
        except PromptmillError as error:
            self.error = error


@given(
    waits=st.sampled_from([0.0, 44.0, 46.0, 59.0, 61.0]),
    bursts=st.lists(
        st.tuples(st.integers(0, 1), st.integers(1, 6), st.sampled_from([0.0, 0.0, 14.0, 30.0, 61.0])),
        min_size=4,
        max_size=14,
    ),
    is_parent_over=st.booleans(),
    offset=st.sampled_from([0.0, -5_000.0]),
)
@settings(max_examples=examples(200))
def test_no_shard_ever_sends_beside_the_run_that_follows_its_own(
    waits: float, bursts: list[tuple[int, int, float]], is_parent_over: bool, offset: float
) -> None:
    world = World()
    parent = parent_of(world)
    actors = [Shard(world, 1, 0.0, 1.0), Follower(world, 2, offset, 1.0)]
    if is_parent_over:
        parent.release()
    else:
        world.gone.add(1)  # the parent's process; its shard is one elsewhere
        actors[0].pid = 7

    def look() -> None:
        assert sum(actor.lease is not None and actor.lease.is_valid for actor in actors) <= 1

    order = [(pid, 0.0 if step else seconds) for pid, steps, seconds in bursts for step in range(steps)]
    interleave(world, actors, [(0, 0.0), (1, waits), *order], look)

    assert {type(actor.error) for actor in actors} <= {type(None), LeaseLost}


async def test_a_run_that_may_not_wait_gives_the_output_back_where_a_shard_still_lives(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    parent = await take_turn_at(storage, Asking("the parent", run_id="a"))
    shard = ShardLease(storage, Asking("its shard", run_id="a").holder())
    shard.renew()
    async with releasing(parent):
        pass

    with pytest.raises(OutputInUse, match="its shard"):
        await take_turn_at(storage, Asking("another", wait=False))
    shard.release()
    async with releasing(await take_turn_at(storage, Asking("another", wait=False))) as lease:
        assert lease.is_valid
    assert list(tmp_path.glob("lease/shards/*")) == []
