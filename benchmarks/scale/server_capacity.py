"""How many calls a second a Prefect server answers.

`python -m benchmarks scale server` asks a server on PostgreSQL and one on sqlite, 32 calls at a time: for blocks of one
shared limit, which all write one row of the database, and for a run's state, as a run does every eight seconds.
"""

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp

from benchmarks.postgres import find_postgres, postgres
from benchmarks.rig import prefect_server, report

_SECONDS = 15.0
_AT_ONCE = 32
_ANSWERED = (200, 423)  # 423: too few slots are free


def measure_server() -> None:
    """Measure the servers that this machine can start."""
    with tempfile.TemporaryDirectory() as name:
        if find_postgres() is not None:
            with (
                postgres() as database,
                prefect_server(Path(name) / "postgres", PREFECT_SERVER_DATABASE_CONNECTION_URL=database) as api_url,
            ):
                asyncio.run(_ask("postgresql", api_url))
        with prefect_server(Path(name) / "sqlite") as api_url:
            asyncio.run(_ask("sqlite", api_url))


async def _ask(database: str, api_url: str) -> None:
    limit = {"name": "x", "limit": 1_500, "slot_decay_per_second": 500.0, "active": True}
    block = {"names": ["x"], "slots": 500, "mode": "rate_limit"}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{api_url}/v2/concurrency_limits/", json=limit) as answer:
            answer.raise_for_status()
        asked = {
            "leases": (f"{api_url}/v2/concurrency_limits/increment", block),
            "looks": (f"{api_url}/flow_runs/filter", {"limit": 1}),
        }
        for name, (url, body) in asked.items():
            statuses = await _count(session, url, body)
            calls = sum(statuses[status] for status in _ANSWERED) / _SECONDS
            shown = {str(status): count for status, count in sorted(statuses.items())}
            report(f"scale/server/{database}", asked_for=name, calls_a_second=round(calls, 1), statuses=shown)


async def _count(session: aiohttp.ClientSession, url: str, body: object) -> Counter[int]:
    """How often which status came; 0 = none."""
    statuses: Counter[int] = Counter()
    until = time.monotonic() + _SECONDS

    async def ask() -> None:
        while time.monotonic() < until:
            try:
                async with session.post(url, json=body) as answer:
                    statuses[answer.status] += 1
            except aiohttp.ClientError:
                statuses[0] += 1

    await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
    return statuses
