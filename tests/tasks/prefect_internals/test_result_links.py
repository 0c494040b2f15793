"""Prefect searches what a task gets for results of other task runs, and keeps an entry for each: ours are kept out of both."""

import weakref
from collections.abc import Iterator
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import StateDetails
from prefect.context import FlowRunContext
from prefect.states import Completed
from prefect.utilities.engine import collect_task_run_inputs_sync, link_state_to_task_run_result

from tasks.prefect_internals.result_links import Lent, forget_results, lending, unsearched


@dataclass
class Shared:
    """What every task run of a flow gets."""

    results: list[Any] = field(default_factory=list[Any])


@pytest.fixture
def linked() -> Iterator[Shared]:
    """Within a flow run, something that holds the result of a task run."""
    with FlowRunContext.model_construct(run_results={}):
        result = {"chunk": "a"}
        link_state_to_task_run_result(Completed(state_details=StateDetails(task_run_id=uuid4())), result)
        yield Shared([result])


def test_prefect_finds_a_result_in_what_a_task_gets_unless_it_may_not_search_it(linked: Shared) -> None:
    assert collect_task_run_inputs_sync(linked)
    assert not collect_task_run_inputs_sync(unsearched(linked))


def test_results_that_are_forgotten_are_not_found_and_take_no_memory(linked: Shared) -> None:
    context = FlowRunContext.get()
    assert context is not None
    assert context.run_results

    forget_results()

    assert not context.run_results
    assert not collect_task_run_inputs_sync(linked)


def test_outside_a_flow_run_there_is_nothing_to_forget() -> None:
    assert FlowRunContext.get() is None
    forget_results()


def test_a_task_gets_the_value_itself(prefect: str) -> None:
    shared = Shared()

    @task(persist_result=False)
    def same(value: Shared) -> bool:
        return value is shared

    @flow
    def a_flow() -> bool:
        return same(unsearched(shared))

    assert a_flow()


@pytest.mark.parametrize("is_lent", [True, False])
def test_an_event_that_waits_for_the_server_holds_what_a_task_got_unless_it_was_lent(
    prefect: str, is_lent: bool
) -> None:
    waiting: list[Context] = []  # an event is queued with the context that it was told in

    @task(persist_result=False)
    def tell(table: Shared | Lent[Shared]) -> bool:
        waiting.append(copy_context())
        return isinstance(table.value if isinstance(table, Lent) else table, Shared)

    @flow
    def a_flow() -> "weakref.ref[Shared]":
        table = Shared()
        with lending(table) as lent:
            assert tell(unsearched(lent if is_lent else table))
        return weakref.ref(table)

    held = a_flow()

    assert waiting
    assert (held() is None) is is_lent
