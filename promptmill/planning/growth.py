"""A plan that grows while a run asks: one thread plans ahead, another waits for the chunks as they come.

Planning renders and counts, which takes the processor from the event loop that asks. So once it is well ahead of the run it
rests between chunks as long as each has taken.
"""

import threading
import time
from collections.abc import Callable, Iterator

from promptmill.planning.plan import Chunk, Plan, Planner

_FAR_AHEAD = 8  # chunks that are planned and not taken yet
_LOOK_SECONDS = 1.0  # between looks of a thread that waits whether the run is over
Check = Callable[[Plan], None]  # raises SetupError for what a plan mustn't have


class Growth:
    """What is left to plan; `plan_all` in one thread, `chunks` in others."""

    def __init__(self, planner: Planner, check: Check, keep: Callable[[Plan], None]) -> None:
        """`check` looks at the plan after each chunk; `keep` gets it once it is whole."""
        self.plan = planner.plan
        self._planner, self._check, self._keep = planner, check, keep
        self._changed = threading.Condition()
        self._taken = 0
        self._is_over = False

    def plan_all(self, tell: Callable[[], None]) -> None:
        """Plan what is left until all is planned or the run is over; `tell` is called after each chunk.

        Blocks. Raises: SetupError or a subclass for what is wrong with the rows; StorageFailed.
        """
        try:
            while not self._is_over and not self.plan.is_whole:
                began = time.monotonic()
                self._planner.step()
                self._check(self.plan)
                with self._changed:
                    self._changed.notify_all()
                tell()
                self._rest(time.monotonic() - began)
            if self.plan.is_whole:
                self._keep(self.plan)
        finally:
            self.end()

    def chunks(self, first: int) -> Iterator[Chunk]:
        """The chunks from number `first` on, as they are planned; it ends with the plan, or with the run. Blocks."""
        number = first
        while (chunk := self._wait_for(number)) is not None:
            number += 1
            yield chunk

    def end(self) -> None:
        """Let nobody wait any more: the run is over, or the planning."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _wait_for(self, number: int) -> Chunk | None:
        with self._changed:
            self._taken = max(self._taken, number)
            self._changed.notify_all()
            while len(self.plan.chunks) <= number and not self.plan.is_whole and not self._is_over:
                self._changed.wait(_LOOK_SECONDS)
            return self.plan.chunks[number] if number < len(self.plan.chunks) else None

    def _rest(self, seconds: float) -> None:
        """Wait so long, unless the run catches up or is over."""
        until = time.monotonic() + seconds
        with self._changed:
            while (
                len(self.plan.chunks) - self._taken > _FAR_AHEAD
                and not self._is_over
                and (left := until - time.monotonic()) > 0
            ):
                self._changed.wait(left)
