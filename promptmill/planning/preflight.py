"""What can be known for free, before the first paid request: shared by `check` and by every run."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from promptmill.errors import JobError, OutputError
from promptmill.job.spec import Job
from promptmill.output.manifest import Manifest, read_manifest
from promptmill.planning.cached import Cached, cache_of, look_up_plan, only_hits
from promptmill.planning.estimate import Estimate, estimate_run
from promptmill.planning.folders import folder_check
from promptmill.planning.growth import Growth
from promptmill.planning.head import HEAD_ROWS, Waits, describe_head
from promptmill.planning.kept_plan import find_plan, keep_plan
from promptmill.planning.kept_size import chunk_rows_of
from promptmill.planning.plan import Plan, Planner
from promptmill.planning.prepared_job import SAMPLES, Prepared
from promptmill.planning.standing_output import refuse_foreign_output
from promptmill.planning.warnings import warnings_of
from promptmill.provider.access import access_of
from promptmill.provider.credentials import Credentials
from promptmill.storage import PROBE, STORAGE_ERRORS, Storage
from promptmill.telling import Tell, tell_nobody

_PROBE_BYTES = 64 * 1024
_CREATES_TWICE = (
    "{url} ignores or refuses conditional writes (PUT with If-None-Match). So Promptmill keeps runs over this output apart "
    "by what the storage lists: if its listings are late, two runs that start within seconds of each other could pay for the "
    "same rows, and two processes could submit the same batch. Start one run at a time there, or use another storage."
)


@dataclass(frozen=True, slots=True)
class Ahead:
    """How much is planned before the first request."""

    waits: Waits | None = None  # why all rows are
    is_whole: bool = True  # all rows are, though nothing forbids to ask before
    head_rows: int = HEAD_ROWS  # else so many
    may_keep: bool = False  # the plan is taken from an earlier run, or kept for the next one
    say: Callable[[str], None] = field(default=lambda _: None, compare=False)  # tells a person what takes a while


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found out about a job that may run: its plan, its price, and what a person should know beforehand."""

    plan: Plan
    estimate: Estimate
    warnings: tuple[str, ...]
    cached: Cached | None = None  # what the job's cache holds; None where it has none
    waits: Waits | None = None  # why all rows are planned before the first request
    growth: Growth | None = None  # what is left to plan while the run asks

    def notes(self, job: Job) -> tuple[str, ...]:
        """What a person should know when the run begins."""
        return (*self.warnings, *([describe_head(job, self.plan.rows)] if self.growth is not None else []))

    def finished(self, prepared: Prepared) -> "Preflight":
        """The same with the estimate of the plan that has become whole meanwhile."""
        if self.growth is None:
            return self
        return replace(self, estimate=estimate_run(prepared, self.plan, _last_sample(prepared)), growth=None)


def preflight(
    prepared: Prepared,
    credentials: Credentials,
    overwrite: bool,
    tell: Tell = tell_nobody,
    *,
    needs_key: bool = True,
    look_ahead: Callable[[], Ahead] = Ahead,
) -> Preflight:
    """Plan and price a job; `tell` is told of the rows planned so far. A mere look needs no key.

    `look_ahead` says how much is planned here, by default all; it may look at the output.
    Raises: SetupError or a subclass for anything that would make the run fail, of the rows that are planned here.
    """
    unsafe = check_places(prepared, credentials if needs_key else None, overwrite)
    ahead = look_ahead()
    sample, cache = _last_sample(prepared), cache_of(prepared.job)
    chunk_rows = chunk_rows_of(prepared, sample)
    plan = find_plan(prepared, chunk_rows) if ahead.may_keep and cache is None else None
    growth = None
    if plan is None:
        plan, growth = _plan(prepared, ahead, chunk_rows, tell, keeps_requests=cache is not None)
    _refuse_oversized(prepared, plan)
    cached = _look_up(cache, prepared.job, credentials, plan)
    estimate = estimate_run(prepared, plan.scaled(), sample)
    warnings = (*unsafe, *warnings_of(prepared, plan, estimate, sample))
    return Preflight(plan, estimate, warnings, cached, ahead.waits, growth)


def _plan(
    prepared: Prepared, ahead: Ahead, chunk_rows: int | None, tell: Tell, *, keeps_requests: bool
) -> tuple[Plan, Growth | None]:
    """The plan of all rows, or of the first ones and what is left."""
    is_whole = ahead.is_whole or ahead.waits is not None
    folders = folder_check(prepared.job, prepared.dataset, prepared.schema)
    planner = Planner(
        prepared.dataset,
        prepared.builder,
        prepared.job,
        folders,
        keeps_requests=keeps_requests,
        as_they_come=not is_whole,
        chunk_rows=chunk_rows,
    )
    if ahead.waits is not None and prepared.dataset.rows > ahead.head_rows:
        ahead.say(ahead.waits.sentence)
    while (is_whole or planner.plan.rows < ahead.head_rows) and planner.step():
        tell(planner.plan.rows)
    keep = partial(keep_plan, prepared) if ahead.may_keep else _keep_nothing
    if not planner.plan.is_whole:
        planner.plan.rows_ahead = prepared.dataset.rows
        return planner.plan, Growth(planner, partial(_refuse_oversized, prepared), keep)
    keep(planner.plan)
    return planner.plan, None


def _keep_nothing(plan: Plan) -> None:
    """A mere look leaves nothing behind."""


def _look_up(cache: Storage | None, job: Job, credentials: Credentials, plan: Plan) -> Cached | None:
    """What a cache holds of the plan's requests, which the plan then knows."""
    if cache is None or plan.distinct is None:
        return None
    found = only_hits(look_up_plan(cache, job, credentials, plan.distinct))
    plan.distinct, plan.cached, plan.cached_tokens = None, found.rows, found.tokens
    return found


def check_places(prepared: Prepared, credentials: Credentials | None, overwrite: bool) -> list[str]:
    """Check the output, and the credentials if some are given; returns what isn't safe about the output's storage.

    Raises: CredentialsError, OutputError.
    """
    if credentials is not None:
        access_of(credentials)
    refuse_foreign_output(prepared, overwrite)
    return probe_output(prepared.output)


def probe_output(storage: Storage) -> list[str]:
    """Write, read back and delete an object; returns what isn't safe there. Raises: OutputError."""
    name, data = f"{PROBE}{secrets.token_hex(4)}", secrets.token_bytes(_PROBE_BYTES)
    try:
        storage.require_bucket()
        storage.write(name, data)
        returned = storage.read(name)
        storage.delete([name])
        is_safe = storage.creates_once()
    except STORAGE_ERRORS as error:
        raise OutputError(
            f"{storage.shown} can't be written to: {type(error).__name__}: {storage.describe(error)}. The run writes, "
            "reads and deletes "
            "objects there (output.url). Create the bucket or folder, check AWS_* or the permissions, or make room."
        ) from error
    if returned != data:
        raise OutputError(
            f"{storage.shown} gave back other bytes than were written. The run needs storage that keeps what it is given "
            "(output.url). Use another place."
        )
    return [] if is_safe else [_CREATES_TWICE.format(url=storage.shown)]


def _last_sample(prepared: Prepared) -> Manifest | None:
    """The manifest of this job's last sample; None if nobody has run one."""
    try:
        sample = read_manifest(prepared.output.folder(SAMPLES))
    except OutputError:
        return None
    return sample if sample is not None and sample.job_digest == prepared.digest else None


def _refuse_oversized(prepared: Prepared, plan: Plan) -> None:
    limits, (tokens, row) = prepared.job.limits, plan.largest
    output = 0 if prepared.builder.max_output_tokens is None else prepared.builder.max_output_tokens
    found = (
        ("", tokens, limits.tokens_per_minute),
        ("input ", tokens - output, limits.input_tokens_per_minute),
        ("output ", output, limits.output_tokens_per_minute),
    )
    for name, amount, limit in found:
        if limit is not None and amount > limit:
            raise JobError(
                f"the request of row {row} takes {amount:,} {name}tokens; the limit is {limit:,} {name}tokens a minute "
                f"(limits.{name.replace(' ', '_')}tokens_per_minute). Shorten the prompt, lower the output limit or raise the "
                "limit: otherwise the request would wait without end."
            )
