"""Runs that contend for one output: at most one may send at any time, and somebody always may in the end."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.checkpoints.lease_claims import Claims, Holder
from promptmill.checkpoints.output_lease import (
    PERIOD_SECONDS,
    RENEW_SECONDS,
    VALID_SECONDS,
    Contender,
    OutputLease,
)
from promptmill.checkpoints.output_turn import Asking, refuse_to_wait, releasing, take_turn_at
from promptmill.errors import LeaseLost, OutputInUse, StorageFailed
from promptmill.storage import Storage
from tests.support.examples import examples
from tests.support.lease_world import HOUR, Actor, World, interleave


def taken(contender: Contender) -> OutputLease:
    """The lease that an attempt must bring."""
    lease = contender.attempt()
    assert lease is not None
    return lease


def pass_quietly(world: World, seconds: float, lease: OutputLease | None = None, *others: Contender) -> None:
    """Let time pass; the holder renews, and the others look, as they do."""
    until = world.now + seconds
    while world.now < until:
        world.now = min(until, world.now + RENEW_SECONDS)
        if lease is not None:
            lease.renew()
        assert [other.attempt() for other in others] == [None] * len(others)


@pytest.mark.parametrize("offset", [pytest.param(0.0, id="clocks-agree"), pytest.param(-7 * HOUR, id="hours-apart")])
def test_a_holder_that_renews_keeps_the_output_for_hours(offset: float) -> None:
    world = World()
    holder, other = world.contender(1), world.contender(2, offset)
    lease = taken(holder)

    pass_quietly(world, 3 * HOUR, lease, other)

    assert lease.is_valid
    assert str(other.in_the_way).startswith("run 1 (process 1 on host, since ")


def test_the_next_run_has_the_output_as_soon_as_one_ends() -> None:
    world = World()
    lease, second, third = taken(world.contender(1)), world.contender(2), world.contender(3)
    assert (second.attempt(), third.attempt()) == (None, None)

    lease.release()

    assert taken(second).is_valid
    assert third.attempt() is None
    with pytest.raises(LeaseLost):
        lease.require()


@pytest.mark.parametrize("offset", [0.0, 5 * HOUR, -5 * HOUR])
def test_a_dead_run_of_another_machine_is_followed_after_the_period_and_by_one_run_only(offset: float) -> None:
    world = World()
    taken(world.contender(1))
    others = [world.contender(2, offset), world.contender(3), world.contender(4, -offset)]
    assert [one.attempt() for one in others] == [None] * 3

    world.now += PERIOD_SECONDS - 1
    assert [one.attempt() for one in others] == [None] * 3
    world.now += 1

    assert [one.attempt() is None for one in others] == [False, True, True]


def test_a_dead_run_of_this_machine_is_followed_at_once() -> None:
    world = World()
    taken(world.contender(1))
    world.gone.add(1)

    assert taken(world.contender(2)).is_valid


def test_the_next_attempt_of_a_flow_run_follows_the_first_at_once_and_no_other_run_does() -> None:
    world = World()
    first = taken(world.contender(1, run_id="a"))

    assert world.contender(2, run_id="b").attempt() is None
    assert taken(world.contender(3, run_id="a")).is_valid
    with pytest.raises(LeaseLost, match="run 3"):
        first.renew()


def test_a_run_that_slept_through_a_take_over_sends_nothing_and_disturbs_nobody() -> None:
    world = World()
    sleeper, second, third = taken(world.contender(1)), world.contender(2), world.contender(3)
    assert (second.attempt(), third.attempt()) == (None, None)
    world.now += PERIOD_SECONDS
    awake = taken(second)

    assert not sleeper.is_valid
    with pytest.raises(LeaseLost, match=r"taken over by run 2 \(process 2 on host"):
        sleeper.require()
    pass_quietly(world, HOUR, awake, third)
    assert awake.is_valid


def test_a_run_that_slept_while_nobody_came_goes_on() -> None:
    world = World()
    lease = taken(world.contender(1))
    world.now += HOUR

    assert not lease.is_valid
    lease.require()
    assert lease.is_valid


def test_a_run_whose_lease_cannot_be_renewed_stops_before_another_may_follow() -> None:
    world = World()
    lease = taken(world.contender(1))
    world.is_away = True

    with pytest.raises(StorageFailed):
        lease.renew()
    world.now += VALID_SECONDS - 1
    lease.require()
    world.now += 1
    with pytest.raises(LeaseLost, match="could not renew its hold"):
        lease.require()
    lease.release()  # says nothing of a storage that is away


def test_a_renewal_brings_back_a_claim_that_somebody_deleted() -> None:
    world = World()
    lease, other = taken(world.contender(1)), world.contender(2)
    world.objects.clear()

    lease.renew()

    assert other.attempt() is None
    assert lease.is_valid


def test_of_two_runs_after_the_claims_were_deleted_the_first_stays() -> None:
    world = World()
    taken(world.contender(1)).release()
    first = taken(world.contender(2))
    world.objects.clear()
    second = taken(world.contender(3))

    first.renew()

    assert first.is_valid
    with pytest.raises(LeaseLost):
        second.renew()


def test_a_damaged_claim_is_followed_after_the_period() -> None:
    world = World()
    world.objects["lease/000007.json"] = b"{torn"
    contender = world.contender(1)

    assert contender.attempt() is None
    world.now += PERIOD_SECONDS
    assert taken(contender).number == 8


@pytest.mark.parametrize("creates_once", [pytest.param(True, id="conditional"), pytest.param(False, id="by-listing")])
@given(
    bursts=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 9), st.sampled_from([0.0, 0.0, 14.0, 30.0, 54.0, 67.0])),
        min_size=4,
        max_size=16,
    ),
    rates=st.tuples(*[st.sampled_from([0.9, 1.0, 1.1])] * 3),
    offsets=st.tuples(*[st.sampled_from([0.0, -9 * HOUR, 4 * HOUR])] * 3),
)
@settings(max_examples=examples(300))
def test_no_two_runs_ever_believe_that_they_hold_the_output(
    creates_once: bool, bursts: list[tuple[int, int, float]], rates: tuple[float, ...], offsets: tuple[float, ...]
) -> None:
    world = World(creates_once)
    actors = [Actor(world, pid, offsets[pid], rates[pid]) for pid in range(3)]

    def look() -> None:
        holding = [actor for actor in actors if actor.lease is not None and actor.lease.is_valid]
        assert len(holding) <= 1

    order = [(actor, 0.0 if step else seconds) for actor, steps, seconds in bursts for step in range(steps)]
    interleave(world, actors, order, look)

    assert {type(actor.error) for actor in actors} <= {type(None), LeaseLost}


@pytest.mark.parametrize("creates_once", [pytest.param(True, id="conditional"), pytest.param(False, id="by-listing")])
@given(
    silence=st.sampled_from([VALID_SECONDS - 1, PERIOD_SECONDS - 1, PERIOD_SECONDS, PERIOD_SECONDS + 1, 74.0]),
    looks=st.integers(1, 3),
    bursts=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 6), st.sampled_from([0.0, 0.0, 0.0, 1.0, 16.0])),
        min_size=3,
        max_size=10,
    ),
)
@settings(max_examples=examples(300))
def test_a_take_over_never_meets_a_holder_that_wakes_up(
    creates_once: bool, silence: float, looks: int, bursts: list[tuple[int, int, float]]
) -> None:
    """As above, from the moment at which it is closest: others have watched the holder for about the period."""
    world = World(creates_once)
    holder, *others = actors = [Actor(world, pid, 0.0, 1.0) for pid in range(3)]

    def look() -> None:
        assert sum(actor.lease is not None and actor.lease.is_valid for actor in actors) <= 1

    interleave(world, actors, until(lambda: holder.lease is not None, 0), look)
    for pid, other in enumerate(others, 1):
        interleave(world, actors, until(lambda other=other: other.looks >= looks, pid), look)
    order = [(actor, 0.0 if step else seconds) for actor, steps, seconds in bursts for step in range(steps)]
    interleave(world, actors, [(1, silence), *order], look)

    assert {type(actor.error) for actor in actors} <= {type(None), LeaseLost}


def until(is_there: Callable[[], bool], pid: int) -> Iterator[tuple[int, float]]:
    """Steps of this actor alone, until it is there."""
    while not is_there():
        yield pid, 0.0


@given(order=st.lists(st.integers(0, 2), max_size=30))
@settings(max_examples=examples(50))
def test_some_run_always_gets_the_output(order: list[int]) -> None:
    world = World()
    actors = [Actor(world, pid, 0.0, 1.0) for pid in range(3)]
    interleave(world, actors, [(index, 1.0) for index in order], lambda: None)  # all die wherever they are

    last = world.contender(9)
    for _ in range(4):
        if (lease := last.attempt()) is not None:
            break
        world.now += PERIOD_SECONDS
    assert lease is not None


@pytest.fixture(params=["local", "s3"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A folder for checkpoints on a real storage."""
    if request.param == "local":
        return Storage(str(tmp_path / "_checkpoints"))
    return Storage(f"{request.getfixturevalue('s3_folder')}/_checkpoints")


async def test_a_lease_is_taken_waited_for_and_released_on_a_real_storage(checkpoints: Storage) -> None:
    told: list[str] = []
    turn = await take_turn_at(checkpoints, Asking("the first"))
    turn.lease.renew()
    with pytest.raises(OutputInUse, match=r"^the first \(process \d+ on .*without --no-wait"):
        await take_turn_at(checkpoints, Asking("the second", wait=False))
    with pytest.raises(OutputInUse, match="^the first"):
        refuse_to_wait(checkpoints)

    async with releasing(turn) as lease:
        assert lease.is_valid
    second = await take_turn_at(checkpoints, Asking("the second", tell=told.append))
    second.lease.release()

    assert not turn.has_waited
    assert told == []
    assert list(checkpoints.sizes()) == ["lease/000002.json"]
    standing = Claims(checkpoints).highest()
    assert standing is not None
    assert isinstance(standing.holder, Holder)
    assert standing.holder.is_over


class _Ignoring(Storage):
    """A server that takes no notice of the condition."""

    def _create_once(self, name: str, data: bytes) -> bool:
        self.write(name, data)
        return True


class _Refusing(Storage):
    """A server that answers 501 to conditional writes."""

    def _create_once(self, name: str, data: bytes) -> bool:
        raise OSError(errno.ENOSYS, "A header you provided implies functionality that is not implemented")


@pytest.mark.parametrize("server", [_Ignoring, _Refusing])
def test_a_storage_that_creates_only_once_is_told_from_one_that_does_not(
    server: type[Storage], checkpoints: Storage
) -> None:
    assert checkpoints.creates_once()
    assert not server(checkpoints.url).creates_once()
    assert not [name for name in checkpoints.sizes() if "_probe" in name]


async def test_runs_take_turns_on_a_storage_that_refuses_conditional_writes(checkpoints: Storage) -> None:
    storage = _Refusing(checkpoints.url)

    assert [storage.create("a", data) for data in (b"1", b"2", b"1")] == [True, False, True]

    turn = await take_turn_at(storage, Asking("the first"))
    async with releasing(turn):
        with pytest.raises(OutputInUse, match="^the first"):
            await take_turn_at(storage, Asking("the second", wait=False))
