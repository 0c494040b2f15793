"""A run follows its shards: what it bears of a storage that is away, and when it tries a shard again."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from promptmill.checkpoints.store import Store
from promptmill.errors import Interrupted, StoppedByOrder, StorageFailed
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.runs.run import PendingRun
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Ended, Outcome, ShardDied, ShardPlan
from promptmill.sharding.split import split_run
from promptmill.sharding.steering import while_steered
from promptmill.steering.order_files import OrderFiles, SteeredRun
from promptmill.steering.orders import Order
from tasks.run.ownership import OWNERSHIP_SECONDS
from tasks.server.automations import RERUN_SECONDS
from tasks.sharding.supervisor import COUNT_SECONDS, STEP_SECONDS, UNREADABLE_SECONDS, Following
from tests.support.clock import run_on_clock
from tests.support.jobs import MakeJob, plan
from tests.support.unreliable import Unreliable

pytestmark = pytest.mark.filterwarnings("ignore:Artifact creation outside:FutureWarning")
Ends = dict[tuple[int, int], tuple[float, Ended]]  # shard, attempt → after how many seconds it ends, and how


class Elsewhere:
    """Carries shards, each of whose attempts ends as it is told; on the event loop's time."""

    adopts, waiting = False, 0

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
        self.began: dict[tuple[int, int], float] = {}  # shard, attempt
        self.ended_at = 0.0  # the last of them
        self.all_ids: list[str] = []

    async def start(self, folder: ShardFolder, plan: ShardPlan, shard: int, attempt: int) -> None:
        """At once."""
        self.began[shard, attempt] = asyncio.get_running_loop().time()

    async def ended(self) -> dict[int, Ended]:
        """Of each shard its latest attempt counts."""
        self.ended_at, latest = asyncio.get_running_loop().time(), dict(sorted(self.began))
        over = [one for one in latest.items() if self.began[one] + self.ends[one][0] <= self.ended_at]
        return {shard: self.ends[shard, attempt][1] for shard, attempt in over}

    async def cancel(self) -> None:
        """Nothing is under way."""


@pytest.fixture(autouse=True)
def no_server() -> Iterator[None]:
    """Nobody keeps the progress artifact."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield


@pytest.fixture
def run(make_job: MakeJob, credentials: Credentials) -> PendingRun:
    """A run of two shards over a storage that may be away."""
    planned = plan(make_job(40, shards=2), credentials)
    storage = Unreliable(planned.prepared.store.storage.url)
    return replace(planned, prepared=replace(planned.prepared, store=Store(storage)))


def away(run: PendingRun, failures: int) -> None:
    """Let the next reads and listings of a run's storage fail."""
    run.prepared.store.storage.failures = failures  # type: ignore[attr-defined]


def following(run: PendingRun, carrier: Elsewhere) -> Following:
    """A run that was split, about to follow its shards."""
    split = split_run(run)
    assert split is not None
    return Following(run, carrier, ShardFolder(run.prepared.store, "run"), split)


@pytest.mark.parametrize(
    ("seconds", "failures"),
    [
        pytest.param(0, 1, id="an-outcome"),
        pytest.param(0, 40, id="outcomes-and-counts"),
        pytest.param(3 * COUNT_SECONDS, 3, id="counts-while-shards-are-at-work"),
    ],
)
def test_a_storage_that_is_away_for_a_while_ends_no_shard(run: PendingRun, seconds: float, failures: int):
    carrier = Elsewhere({(0, 1): (seconds, "completed"), (1, 1): (seconds, "completed")})
    followed = following(run, carrier)
    away(run, failures)
    run_on_clock(followed.until_all_ended())

    assert list(carrier.began) == [(0, 1), (1, 1)]


def test_the_last_count_is_shown_while_there_is_no_other(run: PendingRun):
    followed = following(run, Elsewhere({}))
    run.prepared.store.storage.write(f"{followed._plan.chunks[0].key}.parquet", b"answers")
    shown = run_on_clock(followed._count())
    away(run, 1)

    assert shown == ("shards 0 of 2 · rows 10 of 40", 25)
    assert run_on_clock(followed._count()) == shown


def test_an_outcome_that_stays_unreadable_ends_the_run_after_a_time(run: PendingRun):
    carrier = Elsewhere({(0, 1): (0, "completed"), (1, 1): (0, "completed")})
    followed = following(run, carrier)
    away(run, 10**9)

    with pytest.raises(StorageFailed, match=r"outcome-0-1.json can't be read: .*away for a moment"):
        run_on_clock(followed.until_all_ended())
    assert UNREADABLE_SECONDS <= carrier.ended_at <= UNREADABLE_SECONDS + 10


@pytest.mark.parametrize(
    "ended", [pytest.param("crashed", id="crashed-or-deleted"), pytest.param("failed", id="failed-without-a-word")]
)
def test_a_shard_that_left_no_word_is_tried_again_once_its_process_has_seen_that_it_lost_it(
    run: PendingRun, ended: Ended
):
    carrier = Elsewhere({(0, 1): (4, "completed"), (1, 1): (8, ended), (1, 2): (0, "completed")})

    followed = following(run, carrier)
    run_on_clock(followed.until_all_ended())

    assert list(carrier.began) == [(0, 1), (1, 1), (1, 2)]
    assert [followed._folder.has_later_attempt(1, attempt) for attempt in (1, 2)] == [True, False]
    assert RERUN_SECONDS > OWNERSHIP_SECONDS
    assert 8 + RERUN_SECONDS <= carrier.began[1, 2] <= 8 + RERUN_SECONDS + 2 * STEP_SECONDS


def test_a_shard_that_ended_in_order_is_tried_again_at_once(run: PendingRun):
    carrier = Elsewhere({(0, 1): (4, "completed"), (1, 1): (8, "crashed"), (1, 2): (0, "completed")})
    followed = following(run, carrier)
    followed._folder.write_outcome(1, 1, Outcome(None, Interrupted()))

    run_on_clock(followed.until_all_ended())

    assert carrier.began[1, 2] <= 8 + 2 * STEP_SECONDS


def test_a_shard_that_dies_again_and_again_ends_the_run(run: PendingRun):
    carrier = Elsewhere({(0, 1): (4, "completed"), **{(1, attempt): (0, "crashed") for attempt in (1, 2, 3)}})

    with pytest.raises(ShardDied, match="rows 21 to 40 died 3 times"):
        run_on_clock(following(run, carrier).until_all_ended())


def test_the_manifest_of_a_run_that_ends_early_lists_the_orders_that_only_its_shards_heard(run: PendingRun):
    files = OrderFiles(run.prepared.store.storage)
    steered = files.begin(SteeredRun("0" * 12, "the run", "online", 2, 40, datetime.now(UTC), None, None))
    files.give(steered, Order("stop", "ann", datetime.now(UTC)))
    followed = following(replace(run, steered=steered), Elsewhere({}))
    stopped = StoppedByOrder("ann")

    async def shard_that_heard() -> None:
        raise stopped

    with pytest.raises(StoppedByOrder):
        run_on_clock(while_steered(followed._run, followed, followed._folder, followed._plan, shard_that_heard()))
    followed.tell_how_far(stopped)

    assert isinstance(stopped.manifest, Manifest)
    assert [(told.by, told.what) for told in stopped.manifest.steering] == [("ann", "stop")]
