"""Lines that say again what is being done."""

from contextvars import ContextVar
from itertools import accumulate, islice, pairwise
from queue import Queue
from threading import Event

from promptmill.reminders import pauses, reminding

WHOSE: ContextVar[str] = ContextVar("WHOSE", default="nobody's")


def test_nobody_is_left_in_silence_for_two_seconds_at_first_and_a_log_of_an_hour_stays_readable() -> None:
    at = [0.0, *accumulate(islice(pauses(), 400))]

    assert max(later - earlier for earlier, later in pairwise(at) if later <= 30) < 2
    assert max(later - earlier for earlier, later in pairwise(at)) <= 10
    assert sum(second <= 3600 for second in at) < 400


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
