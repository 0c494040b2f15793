"""Reads the run's messages in a child at work: its part of the limits, a key that it asked for, the end."""

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import cast

from promptmill.errors import CredentialsError
from promptmill.job.spec import Concurrency
from promptmill.limits.changing import change_part
from promptmill.provider.transport import Credentials
from promptmill.runs.engine import Engine
from promptmill.standalone.interruption import Interruption
from promptmill.standalone.messages import key_of, part_of
from promptmill.steering.orders import MAX_CONCURRENCY

_KEY_SECONDS = 60.0  # for the run to look the key up again


class Told:
    """The run's messages to this process while it is at work."""

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption
        self._part: float | None = None  # this process's part of the limits; None: the part that came with its work
        self._serve: Callable[[], None] | None = None
        self._asking = asyncio.Lock()
        self._tell_key: Callable[[Credentials], None] = _nobody_asks

    def listen(self) -> None:
        """Read the run's messages until it asks this process to end, or is gone. Blocks."""
        while line := sys.stdin.buffer.readline():
            if (part := part_of(line)) is not None:
                self._part = part
                if self._serve is not None:
                    self._serve()
            elif (key := key_of(line)) is not None:
                self._tell_key(key)
            else:
                break
        self.interruption.end()

    async def look_up(self, ask: Callable[[], None]) -> Credentials:
        """Ask the run for the current credentials. Raises: CredentialsError if it doesn't answer."""
        async with self._asking:
            loop, key = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

            def tell(credentials: Credentials) -> None:
                with suppress(
                    RuntimeError, asyncio.InvalidStateError
                ):  # the loop has closed, or nobody waits for the key
                    loop.call_soon_threadsafe(lambda: key.done() or key.set_result(credentials))

            self._tell_key = tell
            ask()
            try:
                return await asyncio.wait_for(key, _KEY_SECONDS)
            except TimeoutError:
                raise CredentialsError(
                    f"the provider refused the key, and the run's own process gave no other within {_KEY_SECONDS:.0f} s. Run "
                    "the same command again: what was answered is kept."
                ) from None

    @contextmanager
    def serving(self, engine: Engine, whole: Concurrency) -> Generator[None]:
        """While this lasts, the engine keeps to the part of the limits that the run sends; `whole` are all limits."""
        loop = asyncio.get_running_loop()

        def obey() -> None:
            if self._part is not None:
                _take_part(engine, whole, self._part)

        def serve() -> None:
            with suppress(RuntimeError):  # the loop has just closed
                loop.call_soon_threadsafe(obey)

        self._serve = serve
        obey()
        try:
            yield
        finally:
            self._serve = None


def _take_part(engine: Engine, whole: Concurrency, part: float) -> None:
    """Make an engine keep to a part of the limits and places of all processes."""
    change_part(engine.client.limiter, part)
    concurrency = cast(Concurrency, engine.steering.values.get(MAX_CONCURRENCY, whole))
    engine.places.change(concurrency if concurrency == "auto" else max(1, int(concurrency * part)), part)


def _nobody_asks(credentials: Credentials) -> None:
    """Ignore a key that comes too late."""
