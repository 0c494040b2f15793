"""Workers on a shared limit: as tasks on a test's own clock, or as a process of its own on a real server.

`python -m tests.support.leasing NAME SECONDS` sends as fast as the limit NAME allows and prints when (monotonic seconds).
"""

import asyncio
import json
import sys
import time

from prefect.client.orchestration import get_client

from promptmill.limits.rate_limiter import RateLimiter
from tasks.server.shared_limit import open_lessor
from tests.support.prefect_limits import PrefectLimits


async def open_limiter(server: PrefectLimits) -> RateLimiter:
    """The limiter of one process."""
    return RateLimiter(lessor=await open_lessor(server, "api"))


async def work_for(limiter: RateLimiter, seconds: float, tokens: float, workers: int = 40) -> list[float]:
    """When workers that ask as fast as they may were let through."""
    loop, times = asyncio.get_running_loop(), list[float]()
    until = loop.time() + seconds

    async def work() -> None:
        while loop.time() < until:
            reservation = await limiter.reserve(tokens)
            times.append(loop.time())
            await asyncio.sleep(0.05)
            limiter.settle(reservation, tokens)

    tasks = [asyncio.ensure_future(work()) for _ in range(workers)]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await limiter.close()
    return times


async def _main(name: str, seconds: float) -> None:
    async with get_client() as client:
        limiter = RateLimiter(lessor=await open_lessor(client, name))
        offset = time.monotonic() - asyncio.get_running_loop().time()
        print(json.dumps([at + offset for at in await work_for(limiter, seconds, 10)]))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], float(sys.argv[2])))
