"""A storage and a time that tests set, for runs that contend for an output: no waiting, any order of their steps."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from greenlet import getcurrent, greenlet

from promptmill.checkpoints.lease_claims import Holder
from promptmill.checkpoints.output_lease import Contender, OutputLease, Timing
from promptmill.errors import PromptmillError

HOUR = 3600.0


@dataclass
class World:
    """Objects in a storage, the true time, and which processes are gone."""

    creates_once_here: bool = True
    now: float = 0.0
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    gone: set[int] = field(default_factory=set[int])  # pids, as processes of the same machine see it
    is_away: bool = False  # the storage fails
    before_each: Callable[[], None] = lambda: None  # called before each operation on the storage
    url: str = "virtual://out/_checkpoints"

    def _begin(self) -> None:
        self.before_each()
        if self.is_away:
            raise OSError("the storage is away")

    def read(self, name: str) -> bytes:
        self._begin()
        if name not in self.objects:
            raise FileNotFoundError(name)
        return self.objects[name]

    def write(self, name: str, data: bytes) -> None:
        self._begin()
        self.objects[name] = data

    def create(self, name: str, data: bytes) -> bool:
        self._begin()
        if self.creates_once_here and name in self.objects:
            return False
        self.objects[name] = data
        return True

    def delete(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._begin()
            self.objects.pop(name, None)

    def sizes(self, under: str = "") -> dict[str, int]:
        self._begin()
        return {name: len(data) for name, data in self.objects.items() if name.startswith(f"{under}/")}

    def creates_once(self) -> bool:
        return self.creates_once_here

    def timing(self, offset: float = 0.0, rate: float = 1.0) -> Timing:
        """The time by a clock that began somewhere else and may go wrong."""
        return Timing(lambda: offset + rate * self.now, self._sleep, lambda machine, pid: pid in self.gone)

    def _sleep(self, seconds: float) -> None:
        self.before_each()

    def contender(self, pid: int, offset: float = 0.0, rate: float = 1.0, run_id: str = "") -> Contender:
        """A run that wants the output."""
        holder = Holder("", f"run {pid}", "host", "machine", pid, datetime.now(UTC), run_id)
        return Contender(self, holder, self.timing(offset, rate))


class Actor:
    """A run that takes a step only when the test lets it; in a greenlet, since a thread would wait for the machine."""

    def __init__(self, world: World, pid: int, offset: float, rate: float) -> None:
        self.lease: OutputLease | None = None
        self.error: Exception | None = None
        self.looks = 0  # attempts that met another's claim
        self.world, self.pid, self.timing = world, pid, world.timing(offset, rate)
        self.contender = world.contender(pid, offset, rate)
        self._greenlet = greenlet(self._run)

    def step(self) -> None:
        """Go on to the next operation on the storage, or to the end."""
        if not self._greenlet.dead:
            self._greenlet.switch()

    def _run(self) -> None:
        try:
            while (lease := self.contender.attempt()) is None:
                self.looks += 1
                pause()
            self.lease = lease
            for _ in range(3):
                pause()
                lease.require()
                pause()
                lease.renew()
            pause()
            lease.release()
        except PromptmillError as error:
            self.error = error


def pause() -> None:
    """Wait, inside an actor, for the test's leave to go on."""
    parent = getcurrent().parent
    assert parent is not None
    parent.switch()


def interleave(
    world: World, actors: Sequence[Actor], order: Iterable[tuple[int, float]], look: Callable[[], None]
) -> None:
    """Let actors take their steps in an order of (which one, seconds that pass before); `look` after each."""
    world.before_each = pause
    for index, seconds in order:
        world.now += seconds
        look()
        actors[index % len(actors)].step()
        look()
    world.before_each = lambda: None
