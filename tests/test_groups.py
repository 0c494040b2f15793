"""Tests that share a server stay on one worker: apart, each worker would start one, and they would slow each other."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.spreading import Spreading, has_server, is_computing, look_for_servers, turn


@pytest.mark.xdist_group("together")
def test_a_group_is_known_to_who_spreads_the_tests(request: pytest.FixtureRequest):
    assert request.node.nodeid.endswith("@together") is request.config.getoption("loadgroup", default=False)


def item(group: str | None, is_served: bool = False) -> Any:
    """A test, as far as its turn depends on it."""
    groups = {} if group is None else {"xdist_group": pytest.mark.xdist_group(group).mark}
    marks = groups | ({"served": pytest.mark.served.mark} if is_served else {})
    return SimpleNamespace(get_closest_marker=marks.get, stash=pytest.Stash())


def test_the_tests_of_a_group_with_a_server_have_one_all_together_and_the_longest_groups_come_first():
    items = [item(None), item("mixed"), item(None, True), item("mixed", True), item("prefect", True), item("other")]
    look_for_servers(items)

    assert [has_server(one) for one in items] == [False, True, True, True, True, False]
    assert sorted(items, key=turn) == [items[number] for number in (4, 1, 2, 3, 0, 5)]


class Process:
    """A test process, as the scheduler sees it: its name, and what it was asked to test."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.asked: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.asked += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def test_a_third_of_the_processes_begin_at_the_end_where_no_test_has_a_server():
    config = SimpleNamespace(option=SimpleNamespace(loadscopereorder=False), getvalue=lambda _: ["3*popen"])
    processes = [Process(f"gw{number}") for number in range(3)]
    names = ["a.py::test@servers", "a.py::too@servers", *(f"b.py::test_{number}" for number in range(2, 12))]
    scheduler = Spreading(cast(Any, config))
    for process in processes:
        scheduler.add_node(cast(Any, process))
        scheduler.add_node_collection(cast(Any, process), names)

    scheduler.schedule()
    while scheduler.workqueue:
        for process in processes:
            scheduler.mark_test_complete(cast(Any, process), process.asked[-1])

    assert processes[0].asked[:2] == [0, 1]
    assert processes[2].asked[:2] == [11, 10]
    assert sorted(number for process in processes for number in process.asked) == list(range(len(names)))


@pytest.mark.parametrize(
    ("count", "computing"),
    [
        pytest.param(1, [], id="one"),
        pytest.param(2, [], id="two"),
        pytest.param(4, ["gw3"], id="four"),
        pytest.param(6, ["gw4", "gw5"], id="six"),
    ],
)
def test_the_last_third_of_the_processes_computes(count: int, computing: list[str]):
    assert [name for name in (f"gw{number}" for number in range(count)) if is_computing(name, count)] == computing
