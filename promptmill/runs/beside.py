"""Work that goes on beside a block and ends with it."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def going_on(*work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """While this lasts, the work goes on; one that fails ends no run."""
    tasks = [asyncio.create_task(piece) for piece in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
