"""Which test process tests what: a third of them only compute, while the others wait for their servers.

Tests with a server come first in the queue, and mostly wait. The cores would idle meanwhile, so
a computing process takes tests from the queue's end. It comes to those with a server only if nothing else is left.
"""

import pytest
from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController

_LONGEST = (  # groups, by their minutes: what begins last ends last
    "test_deployments",
    "outages",
    "test_sharded_runs",
    "prefect",
    "postgres",
    "test_one_at_a_time",
    "test_form_in_browser",
    "test_chain",
    "batch-flow",
    "test_cancelling",
    "test_dead_runs",
    "test_batches_of_the_command",
    "test_ownership",
    "shared-limits",
    "test_unknown_parameters",
    "wheel",
)
_HAS_SERVER = pytest.StashKey[bool]()


def look_for_servers(items: list[pytest.Item]) -> None:
    """Find out which tests have a server: those that need one, and the others of their groups.

    If one of the others ended the servers first, as a test without a server does, the next group would start them again.
    """
    groups = {_group_of(item) for item in items if item.get_closest_marker("served") is not None} - {None}
    for item in items:
        item.stash[_HAS_SERVER] = item.get_closest_marker("served") is not None or _group_of(item) in groups


def has_server(item: pytest.Item) -> bool:
    """Whether a test has a server, by `look_for_servers`."""
    return item.stash[_HAS_SERVER]


def turn(item: pytest.Item) -> int:
    """When a test's turn is: first the longest groups, then the others with a server, then those without."""
    if not has_server(item):
        return len(_LONGEST) + 1
    group = _group_of(item)
    return _LONGEST.index(group) if group in _LONGEST else len(_LONGEST)


def _group_of(item: pytest.Item) -> str | None:
    mark = item.get_closest_marker("xdist_group")
    return None if mark is None else mark.args[0]


class Spreading(LoadGroupScheduling):
    """As `--dist loadgroup`, from both ends of the queue."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        if is_computing(node.gateway.id, self.numnodes):
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def is_computing(process: str, count: int) -> bool:
    """Whether a process of so many, gw0 the first, takes tests without a server: the last third of them."""
    return int(process.removeprefix("gw")) >= count - count // 3
