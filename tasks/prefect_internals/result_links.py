"""Keeps a run of many task runs small: none is searched for the results of the others. For prefect 3.8.8.

Before each task run, Prefect walks through its parameters and looks up, by `id`, which of all objects came from another task
run; it sends what it found to its server, four times. It keeps an entry for each result of a flow run until that ends
(`FlowRunContext.run_results`), and a freed result's `id` is soon another object's. So of 750 chunks each found most of
those before it by mistake: 28 kB of links a task run, and 106 MB of database after 1,500,000 rows.
Our tasks pass each other nothing that Prefect should know of.
"""

from typing import TypeVar, cast

from prefect.context import FlowRunContext
from prefect.utilities.annotations import opaque

from tasks.prefect_internals.changes import warn_of_change

Value = TypeVar("Value")


def unsearched(value: Value) -> Value:
    """A task's parameter that Prefect doesn't walk through; the task gets the value itself."""
    return cast(Value, opaque(value))


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
