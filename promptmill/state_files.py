"""State files: small JSON objects on the output's storage. What follows when one is missing, damaged or out of reach.

A missing file is `None`: each kind's reader knows what absence means. A storage that doesn't answer is always
StorageFailed. A damaged file (torn, empty, foreign or of other types) is treated as missing, with a warning, where its
content can be made again. It's an error where it guards money or a cancellation: such a file is written whole or not at
all, so a damaged one was touched by somebody else, and a default would spend what nobody allowed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from promptmill.errors import PromptmillError, StorageFailed
from promptmill.storage import STORAGE_ERRORS, Storage

T = TypeVar("T")
log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class StateFile(Generic[T]):
    """One kind of state file."""

    form: TypeAdapter[T]
    purpose: str  # a sentence: what the file says, and so why it matters
    way_on: str  # a sentence: what to do, or what happens, when it's damaged
    damaged: Callable[[str], PromptmillError] | None = None  # None: the content can be made again
    strict: bool = True  # False: the form holds a job, which is read as job files are
    required: tuple[str, ...] = ()  # keys that our own file always has, though the form has a default for them

    def read(self, storage: Storage, name: str) -> T | None:
        """What the file says; None when it's missing, or damaged and can be made again.

        Raises: StorageFailed when the storage doesn't answer; the kind's own error when a damaged file guards something.
        """
        data = self.bytes(storage, name)
        if data is None:
            return None
        try:
            if self.required:
                _require(data, self.required)
            return self.form.validate_json(data, strict=self.strict)
        except ValueError as error:
            self._tell(storage, name, error)
            return None

    def bytes(self, storage: Storage, name: str) -> bytes | None:
        """The file's bytes; None when it's missing. Raises: StorageFailed."""
        try:
            return storage.read(name)
        except FileNotFoundError:
            return None
        except STORAGE_ERRORS as error:
            raise StorageFailed(
                f"{storage.shown}/{name} can't be read: {storage.describe(error)}. {self.purpose} Give access, then run "
                "the same command again: what was answered is kept."
            ) from error

    def _tell(self, storage: Storage, name: str, error: ValueError) -> None:
        """Raise the kind's error, or warn."""
        text = f"{storage.shown}/{name} is damaged ({_first_fault(error)}). {self.purpose} {self.way_on}"
        if self.damaged is not None:
            raise self.damaged(text) from error
        log.warning("%s", text)


def _require(data: bytes, names: tuple[str, ...]) -> None:
    values = orjson.loads(data)
    missing = [name for name in names if not isinstance(values, dict) or name not in values]
    if missing:
        raise ValueError(f"{missing[0]} is missing")


def _first_fault(error: ValueError) -> str:
    """What is wrong, in a few words and without the file's values."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
