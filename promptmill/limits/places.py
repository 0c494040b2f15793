"""Hands out the places for requests in flight: a fixed number, or one that a controller finds (concurrency.py).

For one event loop. A row takes a place before its first attempt and holds it until its result is about to be saved, when the
chunk's next row takes it. If a controller finds the number, a hanging request gives up its place: it puts no load on the
server, and if one request in a hundred hung until its timeout, the others would soon have no place. A request counts as hung
if later ones were answered and it takes many times as long as they did. At most one in eight may count so, or a server that
stalls for everybody would get more and more requests.
"""

import asyncio
import resource
from collections import deque

from promptmill.job.spec import Concurrency
from promptmill.limits.concurrency import MOST, Controller, Ending, Flight

MOST_PLACES = 10_000  # the most places that a job can ask for
_RESERVED_FILES = 200  # file descriptors for the input, the output, logs and Prefect
_LEAST_MOST = 16
_HUNG_SHARE = 0.125  # share of the requests that may hang and give up their place
_MOST_HUNG_CREDIT = 8.0
_HUNG_LEAST_SECONDS = 1.0
_HUNG_FACTOR = 3.0  # times the mean latency and three mean deviations


def most_in_flight(concurrency: Concurrency, part: float = 1.0) -> int:
    """The most requests that this process may have in flight; if a controller finds the number, what open files allow.

    This process gets `part` of a found number; other processes of the run have the rest.
    """
    if concurrency != "auto":
        return concurrency
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = MOST if files == resource.RLIM_INFINITY else min(MOST, files - _RESERVED_FILES)
    return max(_LEAST_MOST, int(bound * part))


class Places:
    """Places for requests in flight, first come, first served."""

    def __init__(self, most: int, controller: Controller | None = None) -> None:
        """`most` places, or as many as the controller says and at most `most`, hanging requests included."""
        self.most = most
        self.controller = controller
        self.held = 0  # places without those of hanging requests
        self.hung = 0
        self.on_wire = 0  # requests in flight, without hanging ones
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._flights: dict[Flight, None] = {}  # without hanging requests, oldest first
        self._hung: set[Flight] = set()
        self._hung_credit = 0.0

    def change(self, concurrency: Concurrency, part: float = 1.0) -> None:
        """Change the number of places; rows keep the places that they hold."""
        most = most_in_flight(concurrency, part)
        if concurrency != "auto":
            self.controller = None
        elif self.controller is None:
            self.controller = Controller(most, start=self.limit)
        self.most = most
        self._wake()

    @property
    def limit(self) -> int:
        """How many places rows may hold now."""
        if self.controller is None:
            return self.most
        return max(1, min(self.controller.limit, self.most - self.hung))

    @property
    def is_found(self) -> bool:
        """Whether a controller finds the number of places."""
        return self.controller is not None

    @property
    def waiting(self) -> int:
        """The number of rows that wait for a place."""
        return len(self._waiting)

    @property
    def may_be_kept(self) -> bool:
        """Whether a row that is answered may leave its place to the next one, and nobody else waits for it.

        One waits always: the chunk that starts the next row. Others have tried before and wait for their next attempt.
        """
        return len(self._waiting) <= 1 and self.held <= self.limit

    async def acquire(self) -> None:
        """Wait for a place."""
        if not self._waiting and self.held < self.limit:
            self.held += 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a place back."""
        self.held -= 1
        self._wake()

    def sent(self, now: float) -> Flight:
        """Note that a request was sent; pass the returned value to `ended`."""
        self.on_wire += 1
        flight = Flight(now, self.on_wire, self.limit)
        if self.controller is not None:
            self._flights[flight] = None
            self.controller.sent(flight)
        return flight

    def ended(self, flight: Flight, ending: Ending, now: float) -> None:
        """Note that a request came back or never will."""
        if flight in self._hung:
            self._hung.discard(flight)
            self.hung -= 1
            self.held += 1
        else:
            self.on_wire -= 1
            self._flights.pop(flight, None)
        if self.controller is None:
            return
        self.controller.ended(flight, ending, now)
        if ending == "answered":
            self._hung_credit = min(_MOST_HUNG_CREDIT, self._hung_credit + _HUNG_SHARE)
            self._give_on_hung(now)
        self._wake()

    def _give_on_hung(self, now: float) -> None:
        """Free the place of the oldest request if it hangs."""
        oldest = next(iter(self._flights), None)
        if oldest is None or self._hung_credit < 1 or now - oldest.sent_at <= self._hung_seconds:
            return
        del self._flights[oldest]
        self._hung.add(oldest)
        self._hung_credit -= 1
        self.on_wire -= 1
        self.hung += 1
        self.held -= 1

    @property
    def _hung_seconds(self) -> float:
        assert self.controller is not None  # noqa: S101 - only called where there is one
        latencies = self.controller.latencies
        return max(_HUNG_LEAST_SECONDS, _HUNG_FACTOR * (latencies.mean + 3 * latencies.spread))

    def _wake(self) -> None:
        while self._waiting and self.held < self.limit:
            future = self._waiting.popleft()
            if not future.done():
                self.held += 1
                future.set_result(None)


def make_places(concurrency: Concurrency, part: float = 1.0) -> Places:
    """The places of one process of a run."""
    most = most_in_flight(concurrency, part)
    return Places(most, Controller(most) if concurrency == "auto" else None)
