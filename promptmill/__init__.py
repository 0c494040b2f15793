"""Promptmill: run a language model over every row of a dataset.

In a notebook: `promptmill.run(frame, job)`, `promptmill.read(url)`, `promptmill.read_failures(url)`. They are imported
when they are used, since pandas takes a third of a second.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptmill.job.spec import Job
    from promptmill.notebook import run
    from promptmill.output.reading import read, read_failures

__all__ = ["Job", "read", "read_failures", "run"]

_HOMES = {
    "Job": "promptmill.job.spec",
    "read": "promptmill.output.reading",
    "read_failures": "promptmill.output.reading",
    "run": "promptmill.notebook",
}


def __getattr__(name: str) -> Any:
    """A public name, imported now."""
    if name not in _HOMES:
        raise AttributeError(f"module 'promptmill' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
