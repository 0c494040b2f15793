"""The places for requests in flight: a fixed number, or one that a controller finds (concurrency.py). One event loop.

A row takes a place before its first attempt and holds it until its answer is stored. Where the number is found, a request
that hangs gives its place on: it loads nobody, and with one in a hundred that hang until their timeout, the others would
soon have no place. A request counts as hung once later ones were answered and it takes many times as long as they did; at
most one in eight may, so that a server that stalls for everybody isn't sent more and more.
"""

import asyncio
import resource
from collections import deque

from promptmill.job.spec import Concurrency
from promptmill.limits.concurrency import MOST, Controller, Ending, Flight

MOST_PLACES = 10_000  # that a job can ask for
_RESERVED_FILES = 200  # descriptors for the input, the output, logs and Prefect
_LEAST_MOST = 16
_HUNG_SHARE = 0.125  # of the requests may hang and give their place on
_MOST_HUNG_CREDIT = 8.0
_HUNG_LEAST_SECONDS = 1.0
_HUNG_FACTOR = 3.0  # times the mean latency and three mean deviations


def most_in_flight(concurrency: Concurrency, part: float = 1.0) -> int:
    """The most requests that this process may have in flight; where the number is found, what its files allow.

    Of a number that is found, `part` is this process's; other processes of the run have the rest.
    """
    if concurrency != "auto":
        return concurrency
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = MOST if files == resource.RLIM_INFINITY else min(MOST, files - _RESERVED_FILES)
    return max(_LEAST_MOST, int(bound * part))


class Places:
    """Places for requests in flight, first come, first served."""

    def __init__(self, most: int, controller: Controller | None = None) -> None:
        """`most` places, or as many as the controller says, and `most` with those that hang."""
        self.most = most
        self.controller = controller
        self.held = 0  # without those of requests that hang
        self.hung = 0
        self.on_wire = 0  # requests on their way, without those that hang
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._flights: dict[Flight, None] = {}  # without those that hang, the oldest first
        self._hung: set[Flight] = set()
        self._hung_credit = 0.0

    def change(self, concurrency: Concurrency, part: float = 1.0) -> None:
        """Bound the places otherwise from now on; those that are held stay held."""
        most = most_in_flight(concurrency, part)
        if concurrency != "auto":
            self.controller = None
        elif self.controller is None:
            self.controller = Controller(most, start=self.limit)
        self.most = most
        self._wake()

    @property
    def limit(self) -> int:
        """How many may be held now."""
        if self.controller is None:
            return self.most
        return max(1, min(self.controller.limit, self.most - self.hung))

    @property
    def is_found(self) -> bool:
        """Whether the number of places follows what comes back."""
        return self.controller is not None

    @property
    def waiting(self) -> int:
        """Rows that wait for a place."""
        return len(self._waiting)

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
        """A request is sent; call `ended` with what this returns."""
        self.on_wire += 1
        flight = Flight(now, self.on_wire, self.limit)
        if self.controller is not None:
            self._flights[flight] = None
            self.controller.sent(flight)
        return flight

    def ended(self, flight: Flight, ending: Ending, now: float) -> None:
        """A request came back, or never will."""
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
        """Give the place of the oldest request on, if it hangs."""
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
