"""docs/scale.md shows what the simulation says: each table is made again, the leases only by a smaller case."""

import re

import pytest

from benchmarks.scale.batches import Queue, run_batches
from benchmarks.scale.command import quick_tables
from benchmarks.scale.leases import Sharing, share
from benchmarks.scale.tables import PAGE

TEXT = PAGE.read_text()
LEASES = re.search(r"<!-- leases -->\n\n(.*?)\n\n<!-- end -->", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def tables() -> dict[str, str]:
    """The page's tables as the code makes them now."""
    assert LEASES, "docs/scale.md has no table of leases"
    calls = next(line.split(" | ")[2] for line in LEASES[1].splitlines() if line.startswith("| 50 | 150"))
    return quick_tables(float(calls))


@pytest.mark.parametrize("name", ["online", "batches", "breaks"])
def test_the_page_shows_what_the_simulation_says(tables: dict[str, str], name: str):
    assert f"<!-- {name} -->\n\n{tables[name]}\n\n<!-- end -->" in TEXT, "run: python -m benchmarks scale"


def test_workers_of_a_shared_limit_use_it_and_do_not_pass_it():
    two = share(Sharing(2, 600, 3_000_000, 200, 2.0, 200, calls_a_second=150.0), 60, 60)

    assert 90 < two.used_percent <= 100
    assert two.most_in_a_minute_percent < 106  # an idle limit hands out three seconds' worth in the first minute
    assert 0 < two.server_calls_a_second < 10


def test_batches_wait_for_room_in_the_queue():
    """10 rows of 10 tokens, 40 tokens at a time, an hour each: three waves of 4, 4 and 2 rows."""
    waves = run_batches(Queue(10, 10, 1_000, 40, 3_600, 180))

    assert (waves.batches, waves.most_live, waves.seconds) == (3, 1, 3 * 3_600)
