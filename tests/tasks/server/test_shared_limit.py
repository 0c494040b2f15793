"""Several processes on one limit: never more than it together, nearly all of it, and none runs free."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from promptmill.errors import SetupError
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tasks.server.shared_limit import open_lessor, slots_of
from tests.support.clock import run_on_clock, sliding_most
from tests.support.commands import command, write_job
from tests.support.jobs import MakeJob, carry_out
from tests.support.leasing import open_limiter, work_for
from tests.support.paths import ROOT
from tests.support.prefect_limits import PrefectLimits

AMPLE = 100_000_000


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize(
    ("requests", "tokens", "each"),
    [
        pytest.param(6_000, AMPLE, 10, id="requests-bind"),
        pytest.param(500, AMPLE, 10, id="few-requests-bind"),
        pytest.param(1_000_000, 900_000, 150, id="tokens-bind"),
    ],
)
def test_processes_together_keep_within_the_limit_in_any_minute_after_the_first_and_use_nearly_all_of_it(
    processes: int, requests: int, tokens: int, each: int
) -> None:
    random.seed(3)
    seconds = 240

    async def scenario() -> tuple[list[list[float]], int]:
        server = PrefectLimits(requests, tokens)
        limiters = [await open_limiter(server) for _ in range(processes)]
        return await asyncio.gather(*(work_for(one, seconds, each) for one in limiters)), server.calls

    found, calls = run_on_clock(scenario())

    limit = min(requests, tokens / each)
    late = sorted(at for times in found for at in times if at >= 60)
    assert sliding_most([(at, 1) for at in late]) <= 1.02 * limit
    assert len(late) >= 0.93 * limit * (seconds - 60) / 60
    assert calls <= 4 * processes * seconds
    assert min(map(len, found)) >= 0.5 * max(map(len, found))


def test_large_requests_get_their_turn_beside_a_process_that_sends_small_ones() -> None:
    async def scenario() -> tuple[int, int]:
        server = PrefectLimits(AMPLE, 600_000)
        large, small = [await open_limiter(server) for _ in range(2)]
        found = await asyncio.gather(work_for(large, 120, 40_000, 4), work_for(small, 120, 100))
        return len(found[0]), len(found[1])

    large, small = run_on_clock(scenario())

    assert large * 40_000 >= 0.6 * small * 100


def test_while_the_server_is_away_what_was_leased_is_used_and_nothing_else_and_then_it_goes_on() -> None:
    async def scenario() -> tuple[list[float], int]:
        server = PrefectLimits(6_000, AMPLE)
        limiter = await open_limiter(server)
        working = asyncio.ensure_future(work_for(limiter, 120, 10))
        await asyncio.sleep(30)
        server.is_away, leased = True, server.total("requests")
        await asyncio.sleep(60)
        server.is_away = False
        return await working, leased

    times, leased = run_on_clock(scenario())

    assert len([at for at in times if at <= 90]) <= leased
    assert not [at for at in times if 33 < at < 90]
    assert min(at for at in times if at >= 90) <= 96
    assert len([at for at in times if at >= 96]) >= 0.95 * 24 * 100


@pytest.mark.parametrize(("latency_seconds", "share"), [(1.0, 0.97), (4.0, 0.5), (8.0, 0.3)])
def test_a_server_that_answers_late_holds_nobody_up_for_good(latency_seconds: float, share: float) -> None:
    """Calls that were given up after five seconds never got an answer from a server that took six."""
    random.seed(3)

    async def scenario() -> list[list[float]]:
        server = PrefectLimits(6_000, AMPLE)
        limiters = [await open_limiter(server) for _ in range(2)]
        server.latency_seconds = latency_seconds
        return await asyncio.gather(*(work_for(one, 240, 10) for one in limiters))

    late = sorted(at for times in run_on_clock(scenario()) for at in times if at >= 60)

    assert len(late) >= share * 100 * 180
    assert sliding_most([(at, 1) for at in late]) <= 1.02 * 6_000


@pytest.mark.parametrize("processes", [2, 4])
def test_what_piles_up_while_the_server_stalls_passes_the_limit_of_no_minute(processes: int) -> None:
    random.seed(processes)

    async def scenario() -> list[list[float]]:
        server = PrefectLimits(6_000, AMPLE)
        while not server.stalls or server.stalls[-1][1] < 240:
            start = (server.stalls[-1][1] if server.stalls else 20) + random.expovariate(1 / 25)
            server.stalls.append((start, start + random.uniform(1, 4)))
        limiters = [await open_limiter(server) for _ in range(processes)]
        return await asyncio.gather(*(work_for(one, 240, 10) for one in limiters))

    late = sorted(at for times in run_on_clock(scenario()) for at in times if at >= 60)

    assert sliding_most([(at, 1) for at in late]) <= 1.02 * 6_000
    assert len(late) >= 0.93 * 100 * 180


def test_a_limit_that_is_deleted_is_waited_for_and_one_that_is_changed_is_kept_to() -> None:
    async def scenario() -> list[float]:
        server = PrefectLimits(6_000, AMPLE)
        working = asyncio.ensure_future(work_for(await open_limiter(server), 120, 10))
        await asyncio.sleep(30)
        del server.limits["api-requests"]
        await asyncio.sleep(30)
        server.limits.update(PrefectLimits(600, 1).limits | {"api-tokens": server.limits["api-tokens"]})
        return await working

    times = run_on_clock(scenario())

    assert not [at for at in times if 33 < at < 60]
    assert 0.9 * 300 <= len([at for at in times if at >= 90]) <= 1.02 * 300


def remove(server: PrefectLimits) -> None:
    del server.limits["api-tokens"]


def disable(server: PrefectLimits) -> None:
    server.limits["api-requests"].active = False


def hold(server: PrefectLimits) -> None:
    server.limits["api-requests"].per_second = 0


def leave(server: PrefectLimits) -> None:
    server.is_away = True


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(remove, "prefect gcl create api-tokens --limit 45000 --slot-decay-per-second 15000", id="missing"),
        pytest.param(disable, "prefect gcl update api-requests --enable", id="disabled"),
        pytest.param(hold, "prefect gcl update api-requests --limit N --slot-decay-per-second X", id="no-decay"),
        pytest.param(leave, "PREFECT_API_URL", id="server-away"),
    ],
)
def test_limits_that_limit_nothing_are_an_error_before_the_first_request(
    spoil: Callable[[PrefectLimits], None], words: str
) -> None:
    async def scenario() -> None:
        server = PrefectLimits(6_000, 900_000)
        spoil(server)
        await open_lessor(server, "api", {"requests": 6_000, "tokens": 900_000})

    with pytest.raises(SetupError, match=words):
        run_on_clock(scenario())


async def test_without_prefect_a_shared_limit_is_an_error_and_nothing_is_sent(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    with pytest.raises(SetupError, match=r"limits\.shared is 'api'.*promptmill run"):
        await carry_out(make_job(5, limits={"shared": "api"}), credentials)

    assert simulator.ledger()["counters"].get("attempts", 0) == 0


async def make_limits(name: str, requests_per_minute: int) -> None:
    """The two limits, as an operator makes them."""
    async with get_client() as client:
        for kind, per_minute in (("requests", requests_per_minute), ("tokens", AMPLE)):
            await client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(
                    name=f"{name}-{kind}", limit=slots_of(per_minute), slot_decay_per_second=per_minute / 60
                )
            )


LEASING_SECONDS = 58  # more where a machine starts processes slowly


@pytest.mark.slow
@pytest.mark.xdist_group("shared-limits")
async def test_processes_on_a_real_server_keep_to_the_limit_and_use_what_a_killed_one_leaves(prefect: str) -> None:
    await make_limits("live", 6_000)
    words = [sys.executable, "-m", "tests.support.leasing", "live", str(LEASING_SECONDS)]
    environment = {**os.environ, "PREFECT_API_URL": prefect, "PYTHONPATH": str(ROOT)}
    workers = [
        subprocess.Popen(words, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    time.sleep(12)

    workers.pop().kill()
    times = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]

    starts = [found[0] for found in times]
    begin, end = max(starts) + 12, min(starts) + LEASING_SECONDS - 1  # a stall of one at the end counts too
    used = sorted(at for found in times for at in found if begin <= at < end)
    assert end - begin >= 30
    assert 0.93 * 100 * (end - begin) <= len(used) <= 1.02 * 100 * (end - begin)
    assert sliding_most([(at, 1) for at in used], 30) <= 1.02 * 30 * 100


@pytest.mark.xdist_group("shared-limits")
async def test_the_command_leases_its_limit_and_says_which_one_is_missing(
    prefect: str, make_job: MakeJob, simulator: Simulator, tmp_path: Path
) -> None:
    path = write_job(make_job(20, limits={"shared": "made"}), tmp_path)

    refused = command("run", path, api_url=prefect, base_url=simulator.base_url)
    _, errors = refused.communicate(timeout=120)
    sent = simulator.ledger()["totals"].get("requests", 0)
    await make_limits("made", 6_000)
    sampled = command("sample", path, "--rows", "5", api_url=prefect, base_url=simulator.base_url)
    _, more_errors = sampled.communicate(timeout=120)
    run = command("run", path, "--json", api_url=prefect, base_url=simulator.base_url)
    output, _ = run.communicate(timeout=120)

    assert (refused.returncode, sent) == (2, 0)
    assert "prefect gcl create made-requests --limit 300 --slot-decay-per-second 100" in errors
    assert "Traceback" not in errors
    assert sampled.returncode == 0, more_errors
    assert json.loads(output.splitlines()[-1])["succeeded"] == 20
