"""Which test process tests what: a third of them only compute, while the others wait for their servers.

Tests with a server come first in the queue, and mostly wait. The cores would idle meanwhile, so
a computing process takes tests from the queue's end. It comes to those with a server only if nothing else is left.
"""

import pytest
from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController

_LONGEST = (  # groups, by their minutes: what begins last ends last
    "outages",
    "test_sharded_runs",
    "test_deployments",
    "postgres",
    "test_form_in_browser",
    "test_one_at_a_time",
)


def turn(item: pytest.Item) -> int:
    """When a test's turn is: first the longest groups, then the others with a server, then those without."""
    if item.get_closest_marker("served") is None:
        return len(_LONGEST) + 1
    group = item.get_closest_marker("xdist_group")
    return _LONGEST.index(group.args[0]) if group is not None and group.args[0] in _LONGEST else len(_LONGEST)


class Spreading(LoadGroupScheduling):
    """As `--dist loadgroup`, from both ends of the queue."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        if is_computing(node.gateway.id, self.numnodes):
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def is_computing(process: str, count: int) -> bool:
    """Whether a process of so many, gw0 the first, takes tests without a server: the last third of them."""
    return int(process.removeprefix("gw")) >= count - count // 3
