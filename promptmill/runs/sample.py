"""A few rows tried for real, and what they say of the whole."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

import numpy as np

from promptmill.dataset.dataset import Dataset
from promptmill.job.spec import Job
from promptmill.output.forecast import Forecast
from promptmill.output.manifest import Manifest
from promptmill.planning.forecast import dollars, forecast_run, minutes_at_limits
from promptmill.planning.plan import Chunk
from promptmill.runs.run import PendingRun

_ASSUMED_IN_FLIGHT = 64  # where the number is found; a few rows can't show how many the provider takes


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """What the whole run would take, going by a sample."""

    rows: int
    usd: Decimal
    batch_usd: Decimal
    output_tokens: int
    failed: int
    minutes: float | None  # None where neither limits nor a fresh answer tell
    forecast: Forecast | None  # the same with intervals; None where nothing was asked


def sample_job_of(job: Job, rows: int | None) -> Job:
    """The same job over its first rows only, or over all of its input; its answers are kept for the whole run.

    No cache is asked: its answers would say nothing of what the whole costs.
    """
    limit = job.input.limit if rows is None else min(rows, job.input.limit or rows)
    return job.model_copy(update={"input": job.input.model_copy(update={"limit": limit}), "cache": ""})


def draw_rows(whole: PendingRun, rows: int, seed: int) -> Dataset | None:
    """Rows drawn from a run's input, in input order; None where it has no more than those.

    Only rows that the whole run asks for are drawn: what another row's answer fills would be paid for in vain.
    """
    plan = whole.preflight.plan
    if rows >= plan.rows:
        return None
    asked = plan.rows - plan.shared
    return whole.prepared.dataset.only(_asked_rows(plan.chunks, draw_numbers(asked, min(rows, asked), seed)))


def _asked_rows(chunks: Iterable[Chunk], places: Sequence[int]) -> list[int]:
    """The numbers of the rows at these places among those that take no other row's answer; both sorted."""
    found, passed = list[int](), 0
    wanted = np.asarray(places, np.int64)
    for chunk in chunks:
        asked = np.flatnonzero(~chunk.takers)
        here = wanted[(wanted >= passed) & (wanted < passed + len(asked))]
        found += (chunk.start + asked[here - passed]).tolist()
        passed += len(asked)
    return found


def draw_numbers(total: int, rows: int, seed: int) -> list[int]:
    """Different numbers below `total`, drawn at random and sorted; with the same seed, more of them hold the fewer.

    So a larger sample pays only for what the smaller one didn't ask. It shuffles as Fisher and Yates do, and holds the
    places that were moved.
    """
    random, moved, drawn = Random(seed), dict[int, int](), list[int]()
    for place in range(rows):
        other = random.randrange(place, total)
        drawn.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return sorted(drawn)


def extrapolate(whole: PendingRun, sample: Manifest) -> Extrapolation:
    """The whole run by a sample's figures, in proportion to the rows that are asked."""
    plan, prices = whole.preflight.plan, whole.prepared.prices
    share = Decimal(plan.to_send) / max(1, sample.rows - sample.shared)
    input_tokens, output_tokens = round(sample.input_tokens * share), round(sample.output_tokens * share)
    forecast = forecast_run(whole.prepared, plan, sample)
    return Extrapolation(
        plan.rows,
        sample.cost_usd * share if forecast is None else dollars(forecast.cost_usd.mean),
        prices.tokens_usd(input_tokens, output_tokens, "batch")
        if forecast is None
        else dollars(forecast.batch_usd.mean),
        output_tokens,
        round(sample.failed * Decimal(plan.rows) / max(1, sample.rows)),
        _minutes(whole, sample),
        forecast,
    )


def _minutes(whole: PendingRun, sample: Manifest) -> float | None:
    """Minutes for the whole: as long as the limits take, or the sample's latency with all slots busy."""
    plan, job = whole.preflight.plan, whole.prepared.job
    share = plan.to_send / max(1, sample.rows - sample.shared)
    tokens = round(sample.input_tokens * share), round(sample.output_tokens * share)
    limited = minutes_at_limits(job, plan.to_send, *tokens)
    if not sample.requests_sent:
        return limited
    most = _ASSUMED_IN_FLIGHT if job.limits.max_concurrency == "auto" else job.limits.max_concurrency
    at_once = min(most, max(1, sample.requests_sent))
    free = sample.seconds * plan.to_send / sample.requests_sent * at_once / most / 60
    return max(free, limited or 0.0)
