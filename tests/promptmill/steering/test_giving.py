"""Orders are given to the run under way, and to no other."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from promptmill.checkpoints.lease_claims import Holder
from promptmill.checkpoints.output_lease import Contender
from promptmill.checkpoints.output_turn import Asking
from promptmill.errors import SetupError
from promptmill.steering.giving import describe, give_order, wait_until_heard
from promptmill.steering.listening import Listener
from promptmill.steering.order_files import OrderFiles, SteeredRun
from promptmill.steering.orders import Order
from promptmill.storage import Storage

NOW = datetime(2026, 11, 28, tzinfo=UTC)
RUN = SteeredRun("0123456789ab", "promptmill run", "online", 1, 10, NOW, None, None)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Storage:
    """The kept answers of an output that this process holds."""
    found = Storage(str(tmp_path / "out" / "_checkpoints"))
    holder: Holder = Asking("promptmill run").holder()
    assert Contender(found, holder).attempt() is not None
    return found


def test_an_order_without_a_run_is_refused(checkpoints: Storage) -> None:
    with pytest.raises(SetupError, match="no run is under way on"):
        give_order(checkpoints, "pause", "ann")


def test_a_run_that_ended_is_told_nothing(checkpoints: Storage) -> None:
    files = OrderFiles(checkpoints)
    files.end(files.begin(RUN))

    with pytest.raises(SetupError, match="The last one, promptmill run of 2026-11-28 00:00 UTC, has ended"):
        give_order(checkpoints, "stop", "ann")


def test_a_run_whose_process_is_gone_is_told_nothing(tmp_path: Path) -> None:
    checkpoints = Storage(str(tmp_path))
    OrderFiles(checkpoints).begin(RUN)  # no claim holds the output

    with pytest.raises(SetupError, match="no run is under way"):
        give_order(checkpoints, "stop", "ann")


def test_an_order_reaches_its_run_and_no_later_one(checkpoints: Storage) -> None:
    files = OrderFiles(checkpoints)
    first = files.begin(RUN)
    given = give_order(checkpoints, "stop", "ann")
    listener, later = Listener(files, first, "promptmill run"), replace(RUN, token="ba9876543210")

    assert listener.hear()
    listener.tell()
    assert listener.steering.stopped == given.order
    assert [heard.who for heard in wait_until_heard(checkpoints, given)] == ["promptmill run"]
    assert not Listener(files, files.begin(later), "the next one").hear()


def test_the_next_attempt_of_a_flow_run_hears_the_orders_to_the_previous_one(checkpoints: Storage) -> None:
    files = OrderFiles(checkpoints)
    files.begin(replace(RUN, flow_run_id="a"))
    give_order(checkpoints, "pause", "ann")
    again = files.begin(replace(RUN, token="ba9876543210", flow_run_id="a"))
    files.end(again)
    retried = files.begin(replace(RUN, token="ba9876543210", flow_run_id="a"))  # by a person, after its end

    assert Listener(files, again, "the next attempt").hear()
    assert not Listener(files, retried, "another run of it").hear()


def test_two_people_who_steer_at_once_lose_no_order(checkpoints: Storage) -> None:
    files = OrderFiles(checkpoints)
    run = files.begin(RUN)
    both = [files.give(run, Order("set", by, NOW, {"max_failure_ratio": 0.5})) for by in ("ann", "bob")]
    checkpoints.write(f"orders/{run.token}/000002-ffffffff.json", checkpoints.read(f"orders/{run.token}/{both[1]}"))
    listener = Listener(files, run, "promptmill run")

    assert listener.hear()
    assert [order.by for order in listener.steering.orders] == ["ann", "bob", "bob"]


def test_a_run_ignores_damaged_and_forbidden_orders(checkpoints: Storage) -> None:
    files = OrderFiles(checkpoints)
    run = files.begin(RUN)
    checkpoints.write(f"orders/{run.token}/000001-aa.json", b'{"action": "pau')
    checkpoints.write(
        f"orders/{run.token}/000002-aa.json",
        b'{"action": "set", "by": "eve", "at": "2026-11-28T00:00:00Z", "values": {"output.url": "/etc"}}',
    )
    files.give(run, Order("pause", "ann", NOW))
    listener = Listener(files, run, "promptmill run")

    assert listener.hear()
    listener.tell()
    assert [order.what for order in listener.steering.orders] == ["pause"]
    assert [heard.names for heard in files.heard(run)] == [tuple(files.names(run)[2:])]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        pytest.param(replace(RUN, approved_usd=Decimal(5)), r"a person approved \$5 for this output", id="approved"),
        pytest.param(replace(RUN, shards=2), "split into shards without a budget", id="shards-without-a-budget"),
    ],
)
def test_a_budget_that_can_not_be_set_is_refused(checkpoints: Storage, run: SteeredRun, said: str) -> None:
    OrderFiles(checkpoints).begin(run)

    with pytest.raises(SetupError, match=said):
        give_order(checkpoints, "set", "ann", {"budget_usd": 50})


def test_a_paused_run_is_not_paused_again_and_a_running_one_not_resumed(checkpoints: Storage) -> None:
    OrderFiles(checkpoints).begin(RUN)

    assert describe(give_order(checkpoints, "resume", "ann"), []) == "promptmill run: It isn't paused."
    give_order(checkpoints, "pause", "ann")
    assert "It is paused since" in describe(give_order(checkpoints, "pause", "bob"), [])


def test_orders_and_their_answers_travel_through_an_object_store(s3_folder: str) -> None:
    found = Storage(f"{s3_folder}/out/_checkpoints")
    assert Contender(found, Asking("promptmill run").holder()).attempt() is not None
    run = OrderFiles(found).begin(RUN)
    listener = Listener(OrderFiles(found), run, "promptmill run")
    assert not listener.hear()
    given = give_order(found, "pause", "ann")

    assert listener.hear()
    listener.tell()
    assert [heard.who for heard in wait_until_heard(found, given)] == ["promptmill run"]
