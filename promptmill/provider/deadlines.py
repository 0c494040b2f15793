"""One timer for all requests in flight. A timer for each request would take as much CPU as parsing its answer."""

import asyncio

from promptmill.provider.connection import Connection


class Deadlines:
    """Fails each request whose answer is late with a TimeoutError. Lives on one event loop."""

    def __init__(self) -> None:
        self._until: dict[Connection, float] = {}  # seconds of the loop's clock
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, connection: Connection, until: float) -> None:
        """An answer must come until then."""
        self._until[connection] = until
        if self._timer is None or until < self._timer.when():
            self._set_timer(until)

    def end(self, connection: Connection) -> None:
        """An answer came, or won't."""
        del self._until[connection]

    def close(self) -> None:
        """Wait for nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, until: float) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_at(until, self._fail_late)

    def _fail_late(self) -> None:
        """Called once the first deadline that was known is over; most answers came long before."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for connection in [late for late, until in self._until.items() if until <= now]:
            connection.fail(TimeoutError())
        left = [until for until in self._until.values() if until > now]
        if left:
            self._set_timer(min(left))
