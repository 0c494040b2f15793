"""Answers → the output: parts, failures and report, then the manifest; the order is in output/publishing.py."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

import pyarrow as pa

from promptmill.checkpoints.output_lease import OutputLease
from promptmill.dataset.dataset import fingerprint_of
from promptmill.errors import CheckpointUnreadable, DatasetError, InputChanged, StorageFailed
from promptmill.memory import FreeMemory
from promptmill.output.columns import output_schema
from promptmill.output.forecast import Measured
from promptmill.output.manifest import REPORT, Manifest, read_manifest, write_manifest
from promptmill.output.parsed_answers import parsed_successes
from promptmill.output.parts import OutputWriter, next_part_number
from promptmill.output.publishing import begin_publishing, begin_upload, publish_side_by_side, settle_publishing
from promptmill.output.report.page import ReportData, render_report
from promptmill.places import shown_places
from promptmill.planning.folders import folder_columns
from promptmill.planning.forecast import measure
from promptmill.planning.pinned_versions import forget_versions
from promptmill.planning.plan import Chunk, Plan
from promptmill.planning.prepared_job import Prepared
from promptmill.runs.ahead import load_ahead, read_ahead
from promptmill.runs.auditing import Auditing, begin_audit
from promptmill.runs.cached_answers import NO_CONTRIBUTION, Contribution
from promptmill.runs.progress import too_many_failures
from promptmill.runs.scoring import score_run
from promptmill.runs.shared_answers import SharedAnswers, shared_answers
from promptmill.runs.totals import RunFacts, Totals, manifest_of
from promptmill.storage import STORAGE_ERRORS, Storage
from promptmill.telling import Tell, tell_nobody


def publish(
    prepared: Prepared,
    plan: Plan,
    facts: RunFacts,
    target: Storage | None = None,
    tell: Tell = tell_nobody,
    adding: Contribution = NO_CONTRIBUTION,
    lease: OutputLease | None = None,
) -> Manifest:
    """Write the output of a run that has answered every row; returns its manifest.

    `tell` is called with the number of rows written so far; what it raises ends the work, and the output stays as it was.
    `adding` takes what was paid for to the job's cache. To write new parts may take longer than the `lease` holds: so it
    is confirmed before anything of the output is replaced.
    Raises: LeaseLost; StorageFailed when the output can't be written, InputChanged when the input changed meanwhile,
    TooManyFailures when too many rows take a failure of others: the answers are kept.
    """
    storage = target or prepared.output
    try:
        return _publish(prepared, plan, facts, storage, tell, adding, lease, is_sample=target is not None)
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"the output at {storage.shown} can't be written: {storage.describe(error)}. Make room or give access, then "
            "run the same command again: every answer is kept and none is paid for twice."
        ) from error
    except DatasetError as error:  # it could be read when it was planned
        raise InputChanged(str(error)) from error


def _publish(
    prepared: Prepared,
    plan: Plan,
    facts: RunFacts,
    storage: Storage,
    tell: Tell,
    adding: Contribution,
    lease: OutputLease | None,
    *,
    is_sample: bool,
) -> Manifest:
    job = prepared.job
    standing = read_manifest(storage)
    properties = prepared.properties
    definitions = prepared.schema.definitions if prepared.schema else {}
    schemas = output_schema(job, prepared.dataset, properties, definitions)
    report = ReportData(job, facts.started_at, prepared.names)
    settle_publishing(storage, standing, is_ours=True)
    begin_upload(storage)
    first = next_part_number(standing, prepared.digest)
    layout = (job.output.part_bytes, first, [*properties], job.output.partition_by, job.output.written_as)
    with OutputWriter(storage, prepared.digest, *schemas, *layout) as writer:
        auditing = begin_audit(prepared, plan)
        totals = write_rows(prepared, plan, writer, report, tell, adding, auditing)
        if not is_sample:  # a sample shows its failures
            _refuse_failed(totals, job.max_failure_ratio)
        parts, failure_parts = writer.close()
        manifest = manifest_of(prepared, facts, totals)
        columns = folder_columns(job, prepared.dataset, prepared.schema)
        listed = {"parts": parts, "failure_parts": failure_parts, "partition_columns": columns}
        audit = None if auditing is None else auditing.values()
        manifest = replace(manifest, **listed, accuracy=report.accuracy, audit=audit)
        if is_sample:
            manifest = replace(manifest, measured=_measured(prepared, plan, facts))
        else:
            manifest = replace(manifest, scorecard=score_run(prepared, facts, manifest))
        FreeMemory().give_back()
        page = render_report(job, manifest, report, facts.limits, facts.unknown, facts.retries_over_time).encode()
        if lease is not None:
            lease.require()
        begin_publishing(storage, standing, [part.path for part in (*parts, *failure_parts)])
        publish_side_by_side(writer.files)
    storage.write(REPORT, page)
    if not is_sample:
        forget_versions(prepared.store.storage, prepared.dataset.versions)
    write_manifest(storage, manifest)
    settle_publishing(storage, manifest, is_ours=True)
    return manifest


def _measured(prepared: Prepared, plan: Plan, facts: RunFacts) -> Measured | None:
    """What a sample's rows took."""
    with shared_answers() as shared:
        answers = pa.concat_tables(_whole(shared, chunk, _own_answers(prepared, chunk)) for chunk in plan.chunks)
    return measure(answers, facts.estimate.input_tokens, prepared.builder.max_output_tokens)


def _refuse_failed(totals: Totals, most: float) -> None:
    """Judge all rows: those that take a failure of another row aren't counted while the run asks."""
    if totals.shared and totals.failed > most * totals.rows:
        raise too_many_failures(totals.failed, totals.rows, totals.kinds, most, totals.messages)


def write_rows(
    prepared: Prepared,
    plan: Plan,
    writer: OutputWriter,
    report: ReportData,
    tell: Tell = tell_nobody,
    adding: Contribution = NO_CONTRIBUTION,
    auditing: Auditing | None = None,
) -> Totals:
    """Give every row with its answer to the parts and to the report; returns the sums over all answers.

    Raises: DatasetError when the input changed; StorageFailed; any of STORAGE_ERRORS.
    """
    totals, free = Totals(), FreeMemory()
    free.give_back()
    for rows, answers in _rows_and_answers(prepared, plan):
        parsed = parsed_successes(answers)
        writer.add(rows, answers, parsed)
        report.add(rows, answers, parsed)
        totals.add(answers)
        adding.add(answers)
        if auditing is not None:
            auditing.add(answers)
        free.came_by(rows.nbytes + answers.nbytes)
        tell(totals.rows)
    adding.close()
    return totals


def _rows_and_answers(prepared: Prepared, plan: Plan) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The carried columns of each chunk's rows with their answers, in input order."""
    _refuse_changed(prepared, plan)
    sizes = [*(chunk.rows for chunk in plan.chunks), 1]  # 1: a row too many
    is_local = prepared.store.storage.is_local
    with (
        closing(read_ahead(prepared.dataset.pieces(sizes, prepared.dataset.carried))) as pieces,
        closing(load_ahead(partial(_own_answers, prepared), plan.chunks, is_local=is_local)) as loaded,
        shared_answers() as shared,
    ):
        for chunk, own in zip(plan.chunks, loaded, strict=True):
            answers = _whole(shared, chunk, own)
            done = 0
            while done < answers.num_rows:
                table = next(pieces, None)
                if table is None or done + table.num_rows > answers.num_rows:
                    raise DatasetError(_changed(prepared))
                numbers = plan.numbers(chunk.start + done, table.num_rows)
                yield _numbered(prepared, table, numbers), answers.slice(done, table.num_rows)
                done += table.num_rows
        if next(pieces, None) is not None:
            raise DatasetError(_changed(prepared))


def _numbered(prepared: Prepared, rows: pa.Table, numbers: Sequence[int]) -> pa.Table:
    if prepared.job.input.id_column is not None:
        return rows
    return rows.add_column(0, prepared.names.row_index, pa.array(numbers, pa.int64()))


def _own_answers(prepared: Prepared, chunk: Chunk) -> pa.Table:
    """A finished chunk's answers, without those that it takes from earlier rows. Raises: StorageFailed."""
    with _explaining(chunk):
        return prepared.store.load_chunk(chunk.key, chunk.has_repetitions)


def _whole(shared: SharedAnswers, chunk: Chunk, own: pa.Table) -> pa.Table:
    """A finished chunk's answers. Raises: StorageFailed."""
    with _explaining(chunk):
        return shared.whole(chunk, own)


@contextmanager
def _explaining(chunk: Chunk) -> Generator[None]:
    """Raises: StorageFailed when the chunk's file was removed or damaged since it was answered."""
    try:
        yield
    except CheckpointUnreadable as error:
        raise StorageFailed(
            f"the answers of rows {chunk.label} are gone: {error}. The output needs every row's answer. Run the same command "
            "again: it asks for these rows again, and for no others."
        ) from error


def _refuse_changed(prepared: Prepared, plan: Plan) -> None:
    if prepared.dataset.is_held:
        return
    job, versions = prepared.job, prepared.dataset.versions
    if fingerprint_of(job.input, job.output.url, versions) != plan.fingerprint:
        raise DatasetError(_changed(prepared))


def _changed(prepared: Prepared) -> str:
    return (
        f"{shown_places(prepared.job.input.urls)} was changed while the run read it; the output needs the rows that were "
        "answered. Run the same command again: what was answered and didn't change is kept."
    )
