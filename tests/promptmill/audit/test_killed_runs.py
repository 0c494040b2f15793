"""The audit's bounds hold the provider's own bill, whatever happened to the runs."""

import random
import time
from collections.abc import Iterator
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.campaign.child import carry
from promptmill.audit.bounds import Audit, audit_of
from promptmill.audit.records import read_books
from promptmill.checkpoints.removal import remove_answers
from promptmill.checkpoints.store import Store
from promptmill.job.spec import Job
from promptmill.limits.pricing import prices_for
from promptmill.provider.transport import Credentials
from promptmill.records import Usage
from promptmill.simulator import Simulator, SimulatorOptions
from promptmill.storage import Storage
from tests.support.batching import carry_batches
from tests.support.billing import counter
from tests.support.jobs import MakeJob, carry_out

MODEL = "gpt-6-luna"
PRICES = prices_for(MODEL, None)
IN_FLIGHT = 8
UNSAVED = 8  # answers: checkpoint_rows of each chunk in flight
DEAREST_USD = PRICES.request_usd(100, 64)  # of a row
FAULTS = {"reset": 0.01, "garbage": 0.01, "error_500": 0.02, "fault_bills": True}


def bill_of(simulator: Simulator) -> Decimal:
    """What the simulator has billed, at the price list's prices."""
    tiers: Any = simulator.ledger()["tiers"]
    usd = Decimal(0)
    for tier, models in tiers.items():
        for account in models.values():
            usage = Usage(account["input_tokens"], account["cached_input_tokens"], account["output_tokens"])
            usd += PRICES.price(usage, tier)
    return usd


def audit(job: Job) -> Audit:
    """The audit of a job's output."""
    return audit_of(read_books(Store(Storage(f"{job.output.url}/_checkpoints"))), PRICES)


def assert_holds(found: Audit, simulator: Simulator, kills: int | None = None) -> None:
    """The bounds hold the bill; after so many kills they are as narrow as what was at risk at each, and a block."""
    bill = bill_of(simulator)
    assert found.known_usd <= bill <= found.at_most_usd
    if kills is not None:
        lost = counter(simulator, "fault_reset") + counter(simulator, "fault_garbage")
        at_risk = kills * (IN_FLIGHT + UNSAVED) * Decimal("1.125") + lost
        assert found.at_most_usd - found.known_usd <= at_risk * DEAREST_USD


async def test_a_run_without_faults_is_known_to_the_last_digit(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(40)

    manifest = await carry_out(job, credentials)

    found = audit(job)
    assert found.known_usd == found.at_most_usd == bill_of(simulator) == manifest.cost_usd
    assert manifest.audit is not None
    assert Decimal(manifest.audit["known_usd"]) == found.known_usd == Decimal(manifest.audit["at_most_usd"])


async def test_lost_connections_are_counted_at_most(make_job: MakeJob, credentials: Credentials) -> None:
    with Simulator(SimulatorOptions(reset=0.1, garbage=0.1, fault_bills=True)) as provider:
        job = make_job(60)

        await carry_out(job, Credentials(api_key="test", base_url=provider.base_url))

        found = audit(job)
        assert found.known_usd < bill_of(provider)
        assert_holds(found, provider)


async def test_an_earlier_prompts_cost_stays_known_after_clean(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    await carry_out(make_job(20), credentials)
    job = make_job(20, request__user="Another: {{ text }}")
    await carry_out(job, credentials, overwrite=True)
    store = Store(Storage(f"{job.output.url}/_checkpoints"))
    current = {f"{chunk}" for chunk in store.listing().sizes if chunk.endswith(".parquet")}
    before, stale = audit(job), sorted(current)[:2]

    remove_answers(store, stale)

    assert not {*stale} & store.listing().sizes.keys()
    assert audit(job).known_usd == audit(job).at_most_usd == before.known_usd == bill_of(simulator)


async def test_batches_are_compared_with_the_providers_own_usage(make_job: MakeJob) -> None:
    with Simulator(SimulatorOptions(batch_seconds=0.1)) as provider:
        job = make_job(20, batch={"poll_seconds": 0.05, "max_requests": 10})

        await carry_batches(job, Credentials(api_key="test", base_url=provider.base_url))

        found = audit(job)
        assert found.known_usd == found.at_most_usd == bill_of(provider) > 0
        assert [check.difference_usd for check in found.batches] == [0, 0]
        (saved,) = [row.saved_usd for row in found.rows if row.name == "saved by batch"]
        assert saved == found.known_usd  # half of the plain price


@pytest.fixture(scope="module")
def faulty() -> Iterator[Simulator]:
    """A provider that loses two answers in a hundred, bills them all the same, and takes its time."""
    with Simulator(SimulatorOptions(latency_seconds=0.03, latency_jitter=0.5, **FAULTS)) as running:  # pyright: ignore[reportArgumentType]
        yield running


def test_the_bounds_hold_the_bill_after_each_kill(make_job: MakeJob, faulty: Simulator, tmp_path: Path) -> None:
    context = get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.campaign.warm"])
    chance = random.Random(14)
    for number in range(6):
        faulty.reset()
        job = make_job(
            [f"text {number} {row}" for row in range(160)],
            chunk_rows=40,
            chunks_in_flight=2,
            budget_usd="1" if number % 2 else None,
            limits={"max_concurrency": IN_FLIGHT},
            max_failure_ratio=1.0,
            output={"url": str(tmp_path / f"out-{number}")},
        )
        (tmp_path / "job.json").write_text(job.model_dump_json())
        arguments = (str(tmp_path / "job.json"), faulty.base_url, "online", str(tmp_path / "log"))
        kills = 0
        for _ in range(1 + number % 2):
            process = context.Process(target=carry, args=arguments)
            process.start()
            wait_until_billed(faulty, requests(faulty) + chance.randint(1, 70), process)
            process.kill()
            process.join()
            kills += process.exitcode == -9
            settle(faulty)
            assert_holds(audit(job), faulty, kills)
        if number < 2:
            process = context.Process(target=carry, args=arguments)
            process.start()
            process.join()
            assert process.exitcode == 0
            assert_holds(audit(job), faulty, kills)


def requests(simulator: Simulator) -> int:
    totals: Any = simulator.ledger()["totals"]
    return int(totals["requests"])


def wait_until_billed(simulator: Simulator, wanted: int, process: BaseProcess) -> None:
    until = time.monotonic() + 60
    while process.is_alive() and requests(simulator) < wanted and time.monotonic() < until:
        time.sleep(0.005)


def settle(simulator: Simulator) -> None:
    """Wait until the requests of a killed process have ended at the provider."""
    until = time.monotonic() + 5
    while counter(simulator, "in_flight") and time.monotonic() < until:
        time.sleep(0.01)
