"""What the provider billed, beside what the output says."""

from typing import Any

import promptmill
from promptmill.output.manifest import Manifest
from promptmill.simulator import Simulator


def billed(simulator: Simulator, tier: str = "batch") -> int:
    """Requests that the provider billed."""
    tiers: Any = simulator.ledger()["tiers"]
    return sum(account["requests"] for account in tiers.get(tier, {}).values())


def paid_twice(simulator: Simulator) -> int:
    """Bodies that were billed more than once."""
    return int(simulator.ledger()["bodies_billed_more_than_once"])  # pyright: ignore[reportArgumentType]


def counter(simulator: Simulator, name: str) -> int:
    """One of the provider's counters."""
    counters: Any = simulator.ledger()["counters"]
    return int(counters.get(name, 0))


def assert_whole(manifest: Manifest, rows: int) -> None:
    """Every row is in exactly one of the two outputs."""
    url = manifest.job["output"]["url"]
    answers, failures = promptmill.read(url), promptmill.read_failures(url)
    found = [*answers["row_index"], *failures["row_index"]]

    assert manifest.state == "completed"
    assert sorted(found) == list(range(rows))
    assert (manifest.succeeded, manifest.failed) == (len(answers), len(failures))
