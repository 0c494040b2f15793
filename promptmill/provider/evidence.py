"""Whose fault a refusal is: the row's, or that of key, money, model or provider; other rows' answers decide.

A provider refuses one row of a thousand (a firewall, a model that takes no images) with the same words as it refuses all of
them (a key without rights). So a doubtful refusal is held:
- A request that was sent after it is answered: the refusal is its row's own.
- Eight are held and none was answered: the run stops, and the rows stay unanswered.
- Nobody else is working: what else is known decides, since nothing more will come.

Until the first answer at most eight requests are out or held, so that a wrong key costs eight requests and not hundreds.
An outage is found in the same way: trouble with several rows in a row and no answer between is nobody's row.
Lives on one event loop; holds no row's data.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from promptmill.provider.retry_policy import GiveUp

MOST_UNPROVEN = 8  # requests out or refused before the first answer, and refusals in a row that stop a run
_TROUBLES_OF_AN_OUTAGE = 6  # in a row
_LONE_SECONDS = 1.0  # that refused rows wait for company, once nobody else is working

Fault = Literal["row", "run"]


@dataclass(slots=True, eq=False)
class _Held:
    """A refusal that waits for evidence."""

    refusal: GiveUp
    sent_at: float  # seconds of the loop's clock
    fault: asyncio.Future[Fault]


class Evidence:
    """What a run's answers and refusals say together."""

    def __init__(self, has_answers: Callable[[], bool] = lambda: False, most_out: int = MOST_UNPROVEN) -> None:
        """`has_answers`: whether the job has any, those of earlier runs included, so that the job itself isn't to blame.

        `most_out`: requests that may be out before the first answer.
        """
        self._most_out = most_out
        self.answers = 0  # readable answers of this run
        self.answered_sent_at = -1.0  # when the newest request was sent that was answered; seconds of the loop's clock
        self.unread = 0  # answers in a row from its beginning that couldn't be read
        self.working = 0  # rows under way, held ones included
        self._has_answers = has_answers
        self._held: list[_Held] = []
        self._out = 0  # requests on their way, until the first answer
        self._gate: deque[asyncio.Future[None]] = deque()
        self._lone: asyncio.TimerHandle | None = None
        self._troubles = 0  # in a row
        self._troubled: set[object] = set()  # rows, of these
        self.trouble_since: float | None = None  # seconds of the loop's clock
        self.refused_since: float | None = None  # the first refusal by a limit since the last answer

    @property
    def is_proven(self) -> bool:
        """Whether the provider has answered a request of this run."""
        return self.answers > 0

    async def enter(self) -> None:
        """Wait until a request may be sent: before the first answer, only a few may be out."""
        while not self.is_proven and (self._out >= self._most_out or self._out + len(self._held) >= MOST_UNPROVEN):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._gate.append(future)
            await future
        self._out += 1

    def left(self) -> None:
        """A request is over, whatever came of it."""
        self._out -= 1
        self._open_gate(1)

    def answered(self, sent_at: float) -> None:
        """A request was answered."""
        self.answers += 1
        self.answered_sent_at = max(self.answered_sent_at, sent_at)
        self.unread = self._troubles = 0
        self.trouble_since = self.refused_since = None
        if self._troubled:
            self._troubled.clear()
        if self.answers == 1:
            self._open_gate(len(self._gate))
        if self._held:
            self._release([held for held in self._held if held.sent_at <= sent_at], "row")

    def forget_trouble(self) -> None:
        """Count no time in which nobody was asked as one in which nobody was answered."""
        self.trouble_since = self.refused_since = None

    def has_unread(self) -> bool:
        """Count an answer that can't be read; True when all answers of this run were like it, so that it should stop."""
        self.unread += not self.is_proven
        return self.unread >= MOST_UNPROVEN

    def limited(self, now: float) -> float:
        """Count a refusal by a limit; returns for how many seconds nobody was answered because of it."""
        self.refused_since = now if self.refused_since is None else self.refused_since
        return now - self.refused_since

    def troubled(self, row: object, now: float) -> None:
        """Count a failure of server or connection that this row alone can't be blamed for."""
        self._troubles += 1
        self._troubled.add(row)
        self.trouble_since = now if self.trouble_since is None else self.trouble_since
        if self._is_shared:
            self._release([held for held in self._held if held.refusal.doubt == "outage"], "run")

    @property
    def is_outage(self) -> bool:
        """Whether server or connection fail for everybody: several rows in a row, and none was answered since."""
        return self._troubles >= _TROUBLES_OF_AN_OUTAGE and self._is_shared

    @property
    def _is_shared(self) -> bool:
        return len(self._troubled) > 1

    async def fault_of(self, refusal: GiveUp, sent_at: float) -> Fault:
        """Whose fault a doubtful refusal is; waits for what decides it."""
        if refusal.doubt == "parameter":
            return "row" if self.is_proven else "run"
        if refusal.doubt == "request" and (self.is_proven or self._has_answers()):
            return "row"
        if refusal.doubt == "outage" and self._is_shared:
            return "run"
        held = _Held(refusal, sent_at, asyncio.get_running_loop().create_future())
        self._held.append(held)
        if len(self._held) >= MOST_UNPROVEN:
            self._release(list(self._held), "run")
        self.look()
        try:
            return await held.fault
        finally:
            if held in self._held:
                self._held.remove(held)

    def look(self) -> None:
        """Decide soon, if nobody but the held rows is working; call it whenever a row is over."""
        if self._lone is not None:
            self._lone.cancel()
            self._lone = None
        if self._held and len(self._held) >= self.working:
            self._lone = asyncio.get_running_loop().call_later(_LONE_SECONDS, self._decide_alone)

    def _decide_alone(self) -> None:
        self._lone = None
        if len(self._held) < self.working:
            return
        for held in list(self._held):
            self._release([held], self._fault_alone(held.refusal))

    def _fault_alone(self, refusal: GiveUp) -> Fault:
        """Whose fault it is, going by what was answered before: a key or an account may have ended since."""
        if refusal.doubt in {"request", "outage"}:
            return "row"
        is_rows = refusal.doubt in {"rights", "model"} and (self.is_proven or self._has_answers())
        return "row" if is_rows else "run"

    def _release(self, decided: list[_Held], fault: Fault) -> None:
        for held in decided:
            self._held.remove(held)
            if not held.fault.done():
                held.fault.set_result(fault)
        if fault == "row":  # otherwise the run stops, and nothing more may be sent
            self._open_gate(len(decided))

    def _open_gate(self, places: int) -> None:
        while places > 0 and self._gate:
            future = self._gate.popleft()
            if not future.done():
                future.set_result(None)
                places -= 1
