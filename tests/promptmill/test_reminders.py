"""Lines that say again what is being done."""

from contextvars import ContextVar
from itertools import accumulate, islice, pairwise
from queue import Queue
from threading import Event

from promptmill.reminders import pauses, reminding

WHOSE: ContextVar[str] = ContextVar("WHOSE", default="nobody's")


def test_the_first_reminder_comes_after_two_seconds_and_a_minute_has_few() -> None:
    at = [*accumulate(islice(pauses(), 20))]

    assert at[0] == 2
    assert sum(second <= 60 for second in at) == 8
    assert max(later - earlier for earlier, later in pairwise(at)) <= 10


def test_reminders_come_while_the_step_blocks_and_end_with_it() -> None:
    said, is_said = Queue[str](), Event()

    def say() -> None:
        said.put(WHOSE.get())
        is_said.set()

    WHOSE.set("ours")
    with reminding(say, [0.0, 60.0]):
        assert is_said.wait(5)

    assert said.get_nowait() == "ours"
    assert said.empty()
