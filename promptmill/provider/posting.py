"""One request on the wire: counted while it is there, and its end told to the places in flight."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from promptmill.job.spec import Endpoint
from promptmill.limits.concurrency import Ending
from promptmill.limits.places import Places
from promptmill.provider.attempt import Counters
from promptmill.provider.next_step import verdict_on_transport
from promptmill.provider.pressure import ending_of
from promptmill.provider.response_body import Answer
from promptmill.provider.retry_policy import TryAgain, Verdict
from promptmill.provider.transport import RawAnswer, Sender, TransportError
from promptmill.provider.verdict import classify
from promptmill.record import record


@record
class Answered:
    """What came back, and what it means."""

    raw: RawAnswer
    verdict: Answer | Verdict
    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing came back."""

    verdict: TryAgain


class Posting:
    """Sends the bodies of one job to one endpoint."""

    def __init__(
        self, sender: Sender, endpoint: Endpoint, secrets: Sequence[str], counters: Counters, places: Places
    ) -> None:
        self._endpoint: Endpoint = endpoint
        self._sender = sender
        self._secrets = secrets  # cut out of everything that the provider says
        self._counters = counters
        self._places = places

    async def post(self, body: bytes) -> Answered | Lost:
        """Send one request."""
        loop = asyncio.get_running_loop()
        ending: Ending = "other"
        self._counters.in_flight += 1
        flight = self._places.sent(loop.time())
        try:
            found = await self._post(body, time.monotonic())
            ending = ending_of(found.verdict)
            return found
        finally:
            self._counters.in_flight -= 1
            self._places.ended(flight, ending, loop.time())

    async def _post(self, body: bytes, began: float) -> Answered | Lost:
        try:
            raw = await self._sender.post(body)
        except TransportError as error:
            return Lost(verdict_on_transport(error))
        seconds = time.monotonic() - began
        verdict = classify(
            raw.status, raw.headers, raw.content, endpoint=self._endpoint, now=time.time(), secrets=self._secrets
        )
        return Answered(raw, verdict, seconds)
