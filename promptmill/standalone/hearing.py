"""What a child hears from its run while it is at work: its part of the limits, a key that it asked for, the end."""

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
    """What the run tells this process while it is at work."""

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption
        self._part: float | None = None  # of the limits; None = as it was told with its work
        self._serve: Callable[[], None] | None = None
        self._asking = asyncio.Lock()
        self._tell_key: Callable[[Credentials], None] = _nobody_asks

    def listen(self) -> None:
        """Hear what the run says until it asks this process to end, or is gone. Blocks."""
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
        """The credentials as the run finds them now. Raises: CredentialsError when it doesn't answer."""
        async with self._asking:
            loop, key = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

            def tell(credentials: Credentials) -> None:
                with suppress(RuntimeError, asyncio.InvalidStateError):  # the loop was closed, or nobody waits any more
                    loop.call_soon_threadsafe(lambda: key.done() or key.set_result(credentials))

            self._tell_key = tell
            ask()
            try:
                return await asyncio.wait_for(key, _KEY_SECONDS)
            except TimeoutError:
                raise CredentialsError(
                    f"the key was refused, and the run's own process didn't look it up again within {_KEY_SECONDS:.0f} s. Run "
                    "the same command again: what was answered is kept."
                ) from None

    @contextmanager
    def serving(self, engine: Engine, whole: Concurrency) -> Generator[None]:
        """While this lasts, the engine keeps to the part of the limits that the run tells; `whole` is of all processes."""
        loop = asyncio.get_running_loop()

        def obey() -> None:
            if self._part is not None:
                _take_part(engine, whole, self._part)

        def serve() -> None:
            with suppress(RuntimeError):  # the loop was closed this very moment
                loop.call_soon_threadsafe(obey)

        self._serve = serve
        obey()
        try:
            yield
        finally:
            self._serve = None


def _take_part(engine: Engine, whole: Concurrency, part: float) -> None:
    """Have an engine keep to a part of the limits of all processes, places for requests among them."""
    change_part(engine.client.limiter, part)
    concurrency = cast(Concurrency, engine.steering.values.get(MAX_CONCURRENCY, whole))
    engine.places.change(concurrency if concurrency == "auto" else max(1, int(concurrency * part)), part)


def _nobody_asks(credentials: Credentials) -> None:
    """Leave a key that comes too late."""
