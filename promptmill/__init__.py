"""Promptmill: run a language model over every row of a dataset.

In a notebook: `promptmill.run(frame, job)`, `promptmill.read(url)`, `promptmill.read_failures(url)` and
`promptmill.Job`. Each is imported when it is first used, because pandas takes a third of a second to import.
This package imports no Prefect: `flows` and `tasks` do, and they call it.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptmill.job.spec import Job
    from promptmill.notebook import run
    from promptmill.output.reading import read, read_failures

__all__ = ["Job", "read", "read_failures", "run"]

_MODULES = {
    "Job": "promptmill.job.spec",
    "read": "promptmill.output.reading",
    "read_failures": "promptmill.output.reading",
}


class _Package(ModuleType):
    """The package promptmill, in which `run` stays the notebook's function although a room is named `run` too."""

    @property
    def run(self) -> Any:
        return import_module("promptmill.notebook").run

    @run.setter
    def run(self, room: ModuleType) -> None:
        """Ignore the room, which Python would put here once anything imports promptmill.run."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'promptmill' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


sys.modules[__name__].__class__ = _Package
