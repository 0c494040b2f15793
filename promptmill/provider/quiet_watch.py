"""Says why nothing is sent: one log line for each stretch of ten seconds or more without a request, and a record to show."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

_QUIET_SECONDS = 10.0
_log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class Quiet:
    """A stretch without a request, while there are rows to answer."""

    seconds: float  # since the last request was sent
    reason: str  # a clause


class QuietWatch:
    """Looks after ten seconds whether anything was sent; lives on one event loop."""

    def __init__(self, explain: Callable[[], str]) -> None:
        self._explain = explain
        self._rows = 0  # that are being answered
        self._last = 0.0  # seconds of the loop's clock
        self._is_told = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A row is being answered."""
        if self._rows == 0:
            self.sent(asyncio.get_running_loop().time())
            self._look_in(_QUIET_SECONDS)
        self._rows += 1

    def end(self) -> None:
        """A row is answered, or isn't any more."""
        self._rows -= 1
        if self._rows == 0 and self._timer is not None:
            self._timer.cancel()

    def sent(self, now: float) -> None:
        """A request is sent; `now` is of the loop's clock."""
        self._last = now
        self._is_told = False

    @property
    def quiet(self) -> Quiet | None:
        """The stretch that lasts now, None when there is none."""
        if self._rows == 0:
            return None
        seconds = asyncio.get_running_loop().time() - self._last
        return Quiet(seconds, self._explain()) if seconds >= _QUIET_SECONDS else None

    def _look(self) -> None:
        rest = self._last + _QUIET_SECONDS - asyncio.get_running_loop().time()
        if rest > 0:
            self._look_in(rest)
            return
        if not self._is_told:
            self._is_told = True
            _log.info("nothing was sent for %.0f s: %s", _QUIET_SECONDS - rest, self._explain())
        self._look_in(_QUIET_SECONDS)

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)
