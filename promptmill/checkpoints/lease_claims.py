"""The objects by which runs over one output agree whose turn it is: `_checkpoints/lease/<number>.json`.

The claim with the highest number holds the output. A run claims it by creating the next number, which only one of many
can do where the storage creates an object only once; elsewhere each run's claim has a name of its own, and the listing
alone tells them apart. No claim is ever replaced by another run's, and the highest one stays when its run ends, marked as
over: so numbers only grow, and a run that slept through a take-over can't mistake an old state for the present one.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from promptmill.errors import StorageFailed
from promptmill.public_url import public_text, public_url
from promptmill.storage import STORAGE_ERRORS

_FOLDER = "lease"
HELPERS = f"{_FOLDER}/shards"
_LOOKS = 5  # at claims that are listed and can't be read


class Objects(Protocol):
    """What a lease needs of a storage (storage.Storage)."""

    url: str

    def read(self, name: str) -> bytes:
        """The bytes of an object. Raises: FileNotFoundError; any of STORAGE_ERRORS."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Publish an object whole or not at all. Raises: any of STORAGE_ERRORS."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Publish an object only if none has this name; False if one has. Raises: any of STORAGE_ERRORS."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; a missing object is no error. Raises: any of STORAGE_ERRORS."""
        ...

    def sizes(self, under: str = "") -> dict[str, int]:
        """Name → bytes of every object below a folder. Raises: any of STORAGE_ERRORS."""
        ...

    def creates_once(self) -> bool:
        """Whether `create` works reliably here. Raises: any of STORAGE_ERRORS."""
        ...


@dataclass(frozen=True, slots=True)
class Holder:
    """Who claims an output."""

    token: str  # random; no other claim has it
    what: str  # for people: "promptmill.run in a notebook", "the flow run 'x' (id)"
    node: str  # name of the machine, for people
    machine: str  # processes.this_machine()
    pid: int
    started_at: datetime  # for people; no clock is ever compared with it
    run_id: str = ""  # the flow run's id: its next attempt takes over the output from this one
    beat: int = 0  # grows with every renewal
    is_over: bool = False  # the run has ended

    def __str__(self) -> str:
        return f"{self.what} (process {self.pid} on {self.node}, since {self.started_at:%Y-%m-%d %H:%M:%S} UTC)"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as we read it."""

    name: str
    number: int  # 1 = the output's first
    data: bytes
    holder: Holder | None  # None: the object is damaged or foreign

    def __str__(self) -> str:
        return "an unknown run" if self.holder is None else str(self.holder)


_HOLDERS: TypeAdapter[Holder] = TypeAdapter(Holder)


class Claims:
    """The claims on one output. All calls block. Raises: StorageFailed, from every method that reaches the storage."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def name_of(self, number: int, token: str, is_shared: bool) -> str:
        """A claim's name: either the name that every run would use for this number, or a unique one."""
        return f"{_FOLDER}/{number:06d}.json" if is_shared else f"{_FOLDER}/{number:06d}-{token}.json"

    def creates_once(self) -> bool:
        """Whether the storage creates an object only once."""
        with _storage_failing(self.objects):
            return self.objects.creates_once()

    def numbers(self) -> dict[str, int]:
        """Name → number of all claims."""
        with _storage_failing(self.objects):
            names = self.objects.sizes(_FOLDER)
        found = {name: name.removeprefix(f"{_FOLDER}/").removesuffix(".json").partition("-")[0] for name in names}
        return {name: int(text) for name, text in found.items() if text.isdecimal()}

    def helpers(self) -> list[str]:
        """Names of the objects by which shards show that they live (shard_lease.py)."""
        with _storage_failing(self.objects):
            return sorted(self.objects.sizes(HELPERS))

    def highest(self) -> Claim | None:
        """The claim that holds the output or held it last; None if there never was a claim."""
        listed: Claim | None = None
        for _ in range(_LOOKS):
            numbers = self.numbers()
            if not numbers:
                return None
            name = max(numbers, key=lambda name: (numbers[name], name))
            if (claim := self.read(name, numbers[name])) is not None:
                return claim  # otherwise its run withdrew it after the listing, or a higher claim replaced it
            listed = Claim(name, numbers[name], b"", None)
        return listed  # the listing is out of date, so this claim may still hold the output

    def read(self, name: str, number: int) -> Claim | None:
        """A claim as it is now; None if it no longer exists."""
        with _storage_failing(self.objects):
            try:
                data = self.objects.read(name)
            except FileNotFoundError:
                return None
        try:
            return Claim(name, number, data, _HOLDERS.validate_json(data))
        except ValidationError:
            return Claim(name, number, data, None)

    def create(self, name: str, holder: Holder) -> bool:
        """Write a claim; False if another run has this name."""
        with _storage_failing(self.objects):
            return self.objects.create(name, _HOLDERS.dump_json(holder))

    def write(self, name: str, holder: Holder) -> None:
        """Write our claim again."""
        with _storage_failing(self.objects):
            self.objects.write(name, _HOLDERS.dump_json(holder))

    def delete(self, names: Iterable[str]) -> None:
        """Remove claims."""
        with _storage_failing(self.objects):
            self.objects.delete(names)


@contextmanager
def _storage_failing(objects: Objects) -> Generator[None]:
    """Turn the storage's errors into StorageFailed."""
    try:
        yield
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{public_url(objects.url)}/{_FOLDER} can't be read or written: {public_text(str(error), objects.url)}. "
            "It says which run works on the output, so that no two pay for the same rows. Give access or make room, "
            "then run the same command again."
        ) from error
