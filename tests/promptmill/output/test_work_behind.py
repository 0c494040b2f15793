"""Work behind its maker is done in order, waits in bounded size, and its errors come back."""

import threading

import pytest

from promptmill.output.work_behind import WorkBehind


def test_work_is_done_in_its_order_and_all_of_it_by_the_end_of_the_wait() -> None:
    done: list[int] = []
    behind = WorkBehind(most=100)
    for number in range(50):
        behind.do(lambda number=number: done.append(number), size=30)
    behind.wait()
    behind.stop()

    assert done == list(range(50))


def test_the_maker_waits_where_more_would_wait_than_the_bound() -> None:
    may_go_on, third_is_in = threading.Event(), threading.Event()
    behind = WorkBehind(most=100)

    def make() -> None:
        behind.do(may_go_on.wait, size=60)
        behind.do(lambda: None, size=40)
        behind.do(lambda: None, size=500)
        third_is_in.set()

    maker = threading.Thread(target=make)
    maker.start()
    assert not third_is_in.wait(0.1)
    may_go_on.set()
    maker.join(10)

    assert third_is_in.is_set()
    behind.stop()


def test_an_error_comes_back_and_nothing_is_done_after_it() -> None:
    done: list[str] = []
    behind = WorkBehind(most=100)

    def fail() -> None:
        raise OSError(28, "No space left on device")

    behind.do(fail, size=1)
    behind.do(lambda: done.append("after"), size=1) if not behind._held[0][0].done() else None  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(OSError, match="No space"):
        behind.wait()
    behind.stop()

    assert done == []


def test_nothing_is_under_way_after_a_stop() -> None:
    begun, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def slow() -> None:
        begun.set()
        may_end.wait(10)
        done.append("under way")

    behind = WorkBehind(most=100)
    behind.do(slow)
    behind.do(lambda: done.append("waiting"))
    begun.wait(10)
    threading.Timer(0.05, may_end.set).start()
    behind.stop()

    assert done == ["under way"]
