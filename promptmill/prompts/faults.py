"""What is wrong with an answer and where, and the steps that finding it may take."""

import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from promptmill.shorten import shorten

_MAX_STEPS = 250_000  # of one answer, in less than a second; one of 100,000 tokens that follows its schema takes fewer
_MAX_SHOWN = 200  # characters of a value in a reason
_PLAIN_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")


class TooMuchWork(Exception):
    """The check of an answer takes more steps than it may."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an answer, and where."""

    message: str
    path: tuple[str | int, ...] = ()
    is_of_kind: bool = False  # the value has another type or constant than its schema wants

    @property
    def place(self) -> str:
        """The place as a JSON path."""
        return "$" + "".join(map(_path_step, self.path))

    def inside(self, key: str | int) -> "Fault":
        """The same fault, seen from the value that holds this one under a key."""
        return replace(self, path=(key, *self.path))


@dataclass(slots=True)
class Budget:
    """The steps that are left for an answer."""

    left: int = _MAX_STEPS

    def charge(self, steps: int = 1) -> None:
        """Take steps away. Raises: TooMuchWork when there are none left."""
        self.left -= steps
        if self.left < 0:
            raise TooMuchWork


Rule = Callable[[Any, Budget], Fault | None]


def show(value: object) -> str:
    """A value as a reason quotes it: whole if it is short."""
    if isinstance(value, str):
        return repr(shorten(value, _MAX_SHOWN))
    if isinstance(value, dict) and len(cast(dict[str, Any], value)) > _QUOTE.maxdict:
        return f"an object of {len(cast(dict[str, Any], value)):,} properties"
    return _QUOTE.repr(value)


def _path_step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_NAME.fullmatch(step) else f"[{step!r}]"


_QUOTE = reprlib.Repr()
_QUOTE.maxlevel, _QUOTE.maxlist, _QUOTE.maxdict, _QUOTE.maxstring = 1, 10, 10, _MAX_SHOWN
