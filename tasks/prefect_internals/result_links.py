"""Keeps a run of many task runs small: none is searched for others' results, and no event holds its rows. For prefect 3.8.8.

Before each task run, Prefect walks through its parameters and looks up, by `id`, which of all objects came from another task
run; it sends what it found to its server, four times. It keeps an entry for each result of a flow run until that ends
(`FlowRunContext.run_results`), and a freed result's `id` is soon another object's. So of 750 chunks each found most of
those before it by mistake: 28 kB of links a task run, and 106 MB of database after 1,500,000 rows.
Our tasks pass each other nothing that Prefect should know of.

An event waits with the context that it was told in, and so with the parameters of its task run, until the server takes it.
A resumed run of 5,000 finished chunks tells of them faster than a server listens: it came to 850 MB of answers (2026-11-28).
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Generic, TypeVar, cast

from prefect.context import FlowRunContext
from prefect.utilities.annotations import opaque

from tasks.prefect_internals.changes import warn_of_change

Value = TypeVar("Value")


def unsearched(value: Value) -> Value:
    """A task's parameter that Prefect doesn't walk through; the task gets the value itself."""
    return cast(Value, opaque(value))


class Lent(Generic[Value]):
    """A large parameter of a task. Who still holds this after the task run holds nothing large."""

    def __init__(self, value: Value) -> None:
        self._held = [value]

    @property
    def value(self) -> Value:
        """What is lent. Raises: IndexError after the end."""
        return self._held[0]

    def end(self) -> None:
        """Take it back."""
        self._held.clear()


@contextmanager
def lending(value: Value) -> Generator[Lent[Value]]:
    """Lend a value to a task run, which ends in this block."""
    lent = Lent(value)
    try:
        yield lent
    finally:
        lent.end()


def forget_results() -> None:
    """Drop what this flow run keeps of the results of its task runs so far."""
    context = FlowRunContext.get()
    if context is None:
        return
    try:
        context.run_results.clear()
    except AttributeError:
        warn_of_change(
            "a flow run keeps no run_results",
            "A run of thousands of chunks may take more memory and more of the server.",
        )
