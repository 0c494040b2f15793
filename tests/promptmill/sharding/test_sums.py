"""What several shards did together, by the manifests that they end with."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from promptmill.output.manifest import Manifest
from promptmill.sharding.plan import sum_shards

_AT = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
HALF, WHOLE = {"requests_per_minute": 0.5}, {"machine": 1.0}


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        ([], {}),
        ([(10.0, {})], {}),
        ([(10.0, HALF)], HALF),
        ([(30.0, HALF), (10.0, WHOLE)], {"requests_per_minute": 0.375, "machine": 0.25}),
        ([(0.0, HALF)], {}),
    ],
)
def test_the_limits_of_shards_count_by_the_time_that_each_took(
    shards: list[tuple[float, dict[str, float]]], expected: dict[str, float]
) -> None:
    assert sum_shards([of_shard(seconds, limits) for seconds, limits in shards]).limited_by == expected


def of_shard(seconds: float, limited_by: dict[str, float]) -> Manifest:
    """What a shard of no rows says that took so long."""
    counted = ("rows", "succeeded", "failed", "reused", "requests_sent", "attempts")
    tokens = ("input_tokens", "cached_input_tokens", "output_tokens")
    empty: dict[str, Any] = dict.fromkeys(("parts", "failure_parts", "batches", "flow_run_ids"), ())
    return Manifest(
        **dict.fromkeys((*counted, *tokens), 0),
        **empty,
        job={},
        job_digest="0123abcd",
        mode="online",
        state="completed",
        cost_usd=Decimal(0),
        estimated_cost_usd=Decimal(0),
        budget_usd=None,
        started_at=_AT,
        finished_at=_AT,
        seconds=seconds,
        failures_by_kind={},
        accuracy=None,
        promptmill_version="1.0",
        limited_by=limited_by,
    )
