"""What a run says of itself: what only it knows, sums over its answers, and the manifest that is made of both."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.deadline_record import DeadlineRecord
from promptmill.output.manifest import Changed, Deadline, Manifest, Told, public_job
from promptmill.planning.estimate import Estimate
from promptmill.planning.prepared_job import Prepared
from promptmill.records import Usage
from promptmill.runs.money import steered_budget_usd
from promptmill.runs.progress import Progress
from promptmill.steering.orders import NOT_STEERED, Steering
from promptmill.version import VERSION


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What only the run itself knows; the rest of a manifest is read off the answers."""

    started_at: datetime
    estimate: Estimate
    mode: str = "online"
    requests_sent: int = 0
    attempts: int = 0
    reused: int = 0
    flow_run_ids: Sequence[str] = ()
    batches: Sequence[dict[str, object]] = ()
    limits: tuple[float | None, float | None] = (None, None)  # requests, tokens a minute that held
    unknown: Mapping[str, int] = field(default_factory=dict[str, int])  # answers of no known shape → how often
    retries: Mapping[str, int] = field(
        default_factory=dict[str, int]
    )  # kind of failure → attempts that another followed
    retries_over_time: Mapping[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    # the same of this process alone, by kind and time in seconds since the epoch
    limited_by: Mapping[str, float] = field(default_factory=dict[str, float])  # limit → share of the time
    steering: Steering = NOT_STEERED  # what people told the run while it was under way
    deadline: DeadlineRecord | None = None  # where the run has one


@dataclass(slots=True)
class Totals:
    """Sums over answers."""

    rows: int = 0
    failed: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = ZERO_USD
    kinds: Counter[str] = field(default_factory=Counter[str])
    shared: int = 0
    cached: int = 0
    messages: dict[str, str] = field(default_factory=dict[str, str])  # of a failure of each kind

    def add(self, answers: pa.Table) -> None:
        kinds = cast(list[str], answers["kind"].drop_null().to_pylist())
        if kinds:
            failed = answers.filter(pc.is_valid(answers["kind"]))
            for kind in set(kinds) - self.messages.keys():
                self.messages[kind] = str(failed["message"][kinds.index(kind)].as_py())
        self.shared += answers.num_rows - answers["answered_by"].null_count
        self.cached += answers.num_rows - answers["cached_from"].null_count
        self.rows += answers.num_rows
        self.failed += len(kinds)
        self.kinds.update(kinds)
        self.cost_usd += pc.sum(answers["cost_usd"]).as_py() or ZERO_USD
        tokens = [int(pc.sum(answers[name]).as_py() or 0) for name in _TOKENS]
        self.usage += Usage(tokens[0], tokens[1], tokens[2], tokens[3])


_TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


def manifest_of(prepared: Prepared, facts: RunFacts, totals: Totals, state: str = "completed") -> Manifest:
    """The manifest without parts."""
    finished = datetime.now(UTC)
    return Manifest(
        job=public_job(prepared.job),
        job_digest=prepared.digest,
        mode=facts.mode,
        state=state,
        rows=totals.rows,
        succeeded=totals.rows - totals.failed,
        failed=totals.failed,
        reused=facts.reused,
        requests_sent=facts.requests_sent,
        attempts=facts.attempts,
        input_tokens=totals.usage.input_tokens,
        cached_input_tokens=totals.usage.cached_input_tokens,
        output_tokens=totals.usage.output_tokens,
        reasoning_tokens=totals.usage.reasoning_tokens,
        shared=totals.shared,
        cached=totals.cached,
        cost_usd=totals.cost_usd,
        estimated_cost_usd=facts.estimate.usd(facts.mode),
        budget_usd=steered_budget_usd(prepared, facts.steering),
        started_at=facts.started_at,
        finished_at=finished,
        seconds=round((finished - facts.started_at).total_seconds(), 3),
        parts=(),
        failure_parts=(),
        batches=tuple(facts.batches),
        flow_run_ids=tuple(facts.flow_run_ids),
        failures_by_kind=dict(totals.kinds.most_common()),
        input_fingerprint=prepared.identity,
        accuracy=None,
        promptmill_version=VERSION,
        input_versions=dict(prepared.dataset.versions),
        retries_by_kind=dict(facts.retries),
        limited_by=dict(facts.limited_by),
        deadline=None if facts.deadline is None else _deadline(facts.deadline, finished),
        steering=tuple(Told(order.at, order.by, order.what) for order in facts.steering.orders),
    )


def _deadline(record: DeadlineRecord, finished: datetime) -> Deadline:
    """What a manifest says of a run's deadline."""
    changes = tuple(Changed(change.at, change.what) for change in record.changes)
    return Deadline(record.text, record.at, finished <= record.at, changes)


def counted_manifest(prepared: Prepared, facts: RunFacts, progress: Progress, state: str) -> Manifest:
    """What a run that publishes nothing can say of itself; it isn't written beside the parts: there a manifest says that
    the output is complete.
    """
    totals = Totals(
        progress.done,
        progress.failed,
        progress.usage,
        progress.spent_usd,
        progress.kinds,
        progress.shared,
        progress.cached,
    )
    return manifest_of(prepared, facts, totals, state)
