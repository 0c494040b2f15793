"""Promptmill: run a language model over every row of a dataset.

In a notebook: `promptmill.run(frame, job)`, `promptmill.read(url)`, `promptmill.read_failures(url)` and
`promptmill.Job`. Each is imported when it is first used, because pandas takes a third of a second to import.
This package imports no Prefect: `flows` and `tasks` do, and they call it.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from promptmill.safe_log import SafeLines

if TYPE_CHECKING:
    from promptmill.job.spec import Job
    from promptmill.notebook import run
    from promptmill.output.reading import read_failures
    from promptmill.reading import read

logging.getLogger("promptmill").addFilter(SafeLines())  # every line of ours passes here, for any handler

__all__ = ["Job", "read", "read_failures", "run"]

_MODULES = {
    "Job": "promptmill.job.spec",
    "read": "promptmill.reading",
    "read_failures": "promptmill.output.reading",
    "run": "promptmill.notebook",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'promptmill' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
