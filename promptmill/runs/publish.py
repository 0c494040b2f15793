"""Answers → the output: parts, failures and report, then the manifest; the order is in output/publishing.py."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.dataset.dataset import fingerprint_of
from promptmill.errors import CheckpointUnreadable, DatasetError, InputChanged, StorageFailed
from promptmill.output.columns import output_schema
from promptmill.output.manifest import REPORT, Manifest, public_job, read_manifest, write_manifest
from promptmill.output.parts import OutputWriter, next_part_number
from promptmill.output.publishing import begin_publishing, begin_upload, publish_side_by_side, settle_publishing
from promptmill.output.report.page import ReportData, render_report
from promptmill.planning.estimate import Estimate
from promptmill.planning.plan import Chunk, Plan
from promptmill.planning.prepared_job import Prepared
from promptmill.public_url import public_url
from promptmill.records import Usage
from promptmill.runs.progress import Progress
from promptmill.storage import STORAGE_ERRORS, Storage
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


@dataclass(slots=True)
class Totals:
    """Sums over answers."""

    rows: int = 0
    failed: int = 0
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = ZERO_USD
    kinds: Counter[str] = field(default_factory=Counter[str])

    def add(self, answers: pa.Table) -> None:
        kinds = cast(list[str], answers["kind"].drop_null().to_pylist())
        self.rows += answers.num_rows
        self.failed += len(kinds)
        self.kinds.update(kinds)
        self.cost_usd += pc.sum(answers["cost_usd"]).as_py() or ZERO_USD
        tokens = [int(pc.sum(answers[name]).as_py() or 0) for name in _TOKENS]
        self.usage += Usage(tokens[0], tokens[1], tokens[2], tokens[3])


_TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


def publish(prepared: Prepared, plan: Plan, facts: RunFacts, target: Storage | None = None) -> Manifest:
    """Write the output of a run that has answered every row; returns its manifest.

    Raises: StorageFailed when it can't be written, InputChanged when the input changed meanwhile: the answers are kept.
    """
    storage = target or prepared.output
    try:
        return _publish(prepared, plan, facts, storage)
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"the output at {storage.shown} can't be written: {storage.describe(error)}. Make room or give access, then "
            "run the same command again: every answer is kept and none is paid for twice."
        ) from error
    except DatasetError as error:  # it could be read when it was planned
        raise InputChanged(str(error)) from error


def _publish(prepared: Prepared, plan: Plan, facts: RunFacts, storage: Storage) -> Manifest:
    job = prepared.job
    standing = read_manifest(storage)
    properties = prepared.properties
    definitions = prepared.schema.definitions if prepared.schema else {}
    schemas = output_schema(job, prepared.dataset, properties, definitions)
    report = ReportData(job, facts.started_at, prepared.names)
    settle_publishing(storage, standing, is_ours=True)
    begin_upload(storage)
    first = next_part_number(standing, prepared.digest)
    with OutputWriter(storage, prepared.digest, *schemas, job.output.part_bytes, first, [*properties]) as writer:
        totals = write_rows(prepared, plan, writer, report)
        parts, failure_parts = writer.close()
        manifest = _manifest(prepared, facts, totals)
        manifest = replace(manifest, parts=parts, failure_parts=failure_parts, accuracy=report.accuracy)
        page = render_report(job, manifest, report, facts.limits, facts.unknown).encode()
        begin_publishing(storage, standing, [part.path for part in (*parts, *failure_parts)])
        publish_side_by_side(writer.files)
    storage.write(REPORT, page)
    write_manifest(storage, manifest)
    settle_publishing(storage, manifest, is_ours=True)
    return manifest


def write_rows(prepared: Prepared, plan: Plan, writer: OutputWriter, report: ReportData) -> Totals:
    """Give every row with its answer to the parts and to the report; returns the sums over all answers.

    Raises: DatasetError when the input changed; StorageFailed; any of STORAGE_ERRORS.
    """
    totals = Totals()
    for rows, answers in _rows_and_answers(prepared, plan):
        writer.add(rows, answers)
        report.add(rows, answers)
        totals.add(answers)
    return totals


def _rows_and_answers(prepared: Prepared, plan: Plan) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The carried columns of each chunk's rows with their answers, in input order."""
    _refuse_changed(prepared, plan)
    pieces = prepared.dataset.pieces(prepared.job.chunk_rows, prepared.dataset.carried)
    for chunk in plan.chunks:
        answers = _answers_of(prepared, chunk)
        done = 0
        while done < answers.num_rows:
            table = next(pieces, None)
            if table is None or done + table.num_rows > answers.num_rows:
                raise DatasetError(_changed(prepared))
            yield _numbered(prepared, table, chunk.start + done), answers.slice(done, table.num_rows)
            done += table.num_rows
    if next(pieces, None) is not None:
        raise DatasetError(_changed(prepared))


def _numbered(prepared: Prepared, rows: pa.Table, start: int) -> pa.Table:
    if prepared.job.input.id_column is not None:
        return rows
    return rows.add_column(0, prepared.names.row_index, pa.array(range(start, start + rows.num_rows), pa.int64()))


def _answers_of(prepared: Prepared, chunk: Chunk) -> pa.Table:
    """A finished chunk's answers. Raises: StorageFailed when its file was removed or damaged since it was answered."""
    try:
        return prepared.store.load_chunk(chunk.key, chunk.has_repetitions)
    except CheckpointUnreadable as error:
        raise StorageFailed(
            f"the answers of rows {chunk.label} are gone: {error}. The output needs every row's answer. Run the same command "
            "again: it asks for these rows again, and for no others."
        ) from error


def _refuse_changed(prepared: Prepared, plan: Plan) -> None:
    if (
        not prepared.dataset.is_frame
        and fingerprint_of(prepared.job.input, prepared.job.output.url) != plan.fingerprint
    ):
        raise DatasetError(_changed(prepared))


def _changed(prepared: Prepared) -> str:
    return (
        f"{public_url(prepared.job.input.url)} was changed while the run read it; the output needs the rows that were "
        "answered. Run the same command again: what was answered and didn't change is kept."
    )


def _manifest(prepared: Prepared, facts: RunFacts, totals: Totals, state: str = "completed") -> Manifest:
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
        cost_usd=totals.cost_usd,
        estimated_cost_usd=facts.estimate.usd(facts.mode),
        budget_usd=prepared.budget_usd,
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
    )


def counted_manifest(prepared: Prepared, facts: RunFacts, progress: Progress, state: str) -> Manifest:
    """What a run that publishes nothing can say of itself; it isn't written beside the parts: there a manifest says that
    the output is complete.
    """
    totals = Totals(progress.done, progress.failed, progress.usage, progress.spent_usd, progress.kinds)
    return _manifest(prepared, facts, totals, state)
