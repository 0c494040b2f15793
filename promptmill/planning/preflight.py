"""What can be known for free, before the first paid request: shared by `check` and by every run."""

import secrets
from dataclasses import dataclass

from promptmill.errors import JobError, OutputError
from promptmill.job.spec import Job
from promptmill.limits.approved_cap import describe_cap
from promptmill.limits.concurrency import MOST
from promptmill.limits.overshoot import Overshoot, overshoot_of
from promptmill.limits.pricing import requested_tier
from promptmill.output.manifest import Manifest, read_manifest
from promptmill.planning.cached import Cached, cache_of, look_up_plan, only_hits
from promptmill.planning.estimate import Estimate, estimate_run
from promptmill.planning.folders import folder_check
from promptmill.planning.plan import Plan, plan_chunks
from promptmill.planning.prepared_job import SAMPLES, Prepared
from promptmill.planning.standing_output import refuse_foreign_output
from promptmill.prompts.tokens import LOW_DETAIL_TOKENS, MEDIA_TOKENS
from promptmill.provider.access import access_of
from promptmill.provider.credentials import Credentials
from promptmill.provider.response_body import MAX_INPUT_TOKENS
from promptmill.storage import PROBE, STORAGE_ERRORS, Storage
from promptmill.telling import Tell, tell_nobody

_PROBE_BYTES = 64 * 1024
_CREATES_TWICE = (
    "{url} ignores or refuses conditional writes (PUT with If-None-Match). So Promptmill keeps runs over this output apart "
    "by what the storage lists: if its listings are late, two runs that start within seconds of each other could pay for the "
    "same rows, and two processes could submit the same batch. Start one run at a time there, or use another storage."
)


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found out about a job that may run: its plan, its price, and what a person should know beforehand."""

    plan: Plan
    estimate: Estimate
    warnings: tuple[str, ...]
    cached: Cached | None = None  # what the job's cache holds; None where it has none


def preflight(
    prepared: Prepared,
    credentials: Credentials,
    overwrite: bool,
    tell: Tell = tell_nobody,
    *,
    needs_key: bool = True,
) -> Preflight:
    """Plan and price a job; `tell` is told of the rows planned so far. A mere look needs no key.

    Raises: SetupError or a subclass for anything that would make the run fail.
    """
    unsafe = check_places(prepared, credentials if needs_key else None, overwrite)
    cache, folders = cache_of(prepared.job), folder_check(prepared.job, prepared.dataset, prepared.schema)
    keeps = cache is not None
    plan = plan_chunks(prepared.dataset, prepared.builder, prepared.job, tell, folders, keeps_requests=keeps)
    _refuse_oversized(prepared, plan)
    cached = _look_up(cache, prepared.job, credentials, plan)
    sample = _last_sample(prepared)
    estimate = estimate_run(prepared, plan, sample)
    return Preflight(plan, estimate, (*unsafe, *_warnings(prepared, plan, estimate, sample)), cached)


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


def _warnings(prepared: Prepared, plan: Plan, estimate: Estimate, sample: Manifest | None) -> list[str]:
    warnings = list[str]()
    if plan.first_unrendered is not None:
        row, message = plan.first_unrendered
        warnings.append(
            f"{plan.unrendered:,} of {plan.rows:,} rows can't be read or rendered, or are too long, and will be failures that "
            f"are never sent; the first is row {row}: {message}"
        )
    if sample is None:
        warnings.append(
            "nobody has run a sample of this job yet; `promptmill sample` tries a few rows and measures the cost"
        )
    warnings += [
        f"the answers' {name!r} is the output's column {column!r}, since the input has a column {name!r} too "
        "(output.answer_prefix chooses another name)"
        for name, column in prepared.names.renamed.items()
    ]
    warnings += _money_warnings(prepared, plan, estimate)
    return [*warnings, *_request_warnings(prepared)]


def _request_warnings(prepared: Prepared) -> list[str]:
    warnings = list[str]()
    if prepared.builder.media_tokens:
        warnings.append(
            f"{prepared.builder.media_tokens:,} input tokens a row are a guess: an image, a file or a sound counts as "
            f"{MEDIA_TOKENS:,} tokens, an image with detail: low as {LOW_DETAIL_TOKENS}; a sample tells what they really take"
        )
    if prepared.schema is not None and prepared.schema.additions:
        warnings.append("the response schema was made strict: " + "; ".join(prepared.schema.additions[:5]))
    if prepared.job.request.sent_parameters.get("service_tier") == "flex":
        warnings.append(
            f"answers at the flex tier are slow: an attempt may take {prepared.job.attempt_seconds:,.0f} s "
            "(retry.request_timeout_seconds), since an answer that comes later is paid for and asked for again; while the "
            f"tier has no capacity, the run waits for {prepared.job.retry.longest_wait_seconds:,.0f} s (retry.max_wait_seconds)"
        )
    if prepared.job.request.wants_confidence:
        warnings.append(
            "the logprobs of each answer become llm_confidence, the mean probability of its tokens, and a column "
            "<property>_confidence for each enumeration, boolean and text; nothing else of them is kept, so top_logprobs are "
            "paid for in vain"
        )
    if (shape := prepared.builder.shape.note) is not None:
        warnings.append(shape)
    modes = prepared.builder.structured
    if modes is not None and len(modes.modes) > 1:
        warnings.append(
            "online, the first requests find out how the provider takes the response schema; by batch it is sent as "
            f"{modes.modes[0]}, since a batch can't find out (request.structured)"
        )
    return warnings


def _money_warnings(prepared: Prepared, plan: Plan, estimate: Estimate) -> list[str]:
    job, warnings = prepared.job, list[str]()
    if prepared.binding_approval is not None:
        warnings.append(describe_cap(prepared.budget_usd, prepared.binding_approval))
    elif job.budget_usd is not None and estimate.online_usd > job.budget_usd:
        warnings.append(
            f"the estimate, ${estimate.online_usd:.4f} online and ${estimate.batch_usd:.4f} by batch, is above budget_usd, "
            f"${job.budget_usd}"
        )
    if (assumed := prepared.prices.assumption_of(job.request.sent_parameters.get("service_tier"))) is not None:
        warnings.append(assumed)
    if job.approve_above_usd is not None and estimate.online_usd > job.approve_above_usd:
        warnings.append(
            f"the estimate, ${estimate.online_usd:.4f}, is above approve_above_usd, ${job.approve_above_usd}: a person "
            "has to say yes before the run sends the rows that have no answer yet (--approve says it)"
        )
    if (
        prepared.budget_usd is not None
        and prepared.builder.max_output_tokens is None
        and job.request.endpoint != "embeddings"
    ):
        warnings.append(
            "budget_usd is only as good as a guess of the longest answer: request.parameters sets no output limit "
            "(max_completion_tokens or max_output_tokens)"
        )
    if prepared.budget_usd is not None and (overshoot := _overshoot(prepared, plan)).usd > 0:
        warnings.append(
            f"online, budget_usd can be passed by ${overshoot.usd:,.4f} at most: {overshoot.in_flight:,} requests in flight "
            f"(limits.max_concurrency) times ${overshoot.answer_usd:,.6f} that one answer may cost beyond its "
            "reservation; by batch, every request of the batches in flight counts. A lower limits.max_concurrency or "
            "output limit makes it less"
        )
    return warnings


def _overshoot(prepared: Prepared, plan: Plan) -> Overshoot:
    job, limit = prepared.job, prepared.builder.max_output_tokens
    largest = plan.largest[0] - (0 if limit is None else limit)
    if job.request.endpoint == "embeddings":  # one request carries many rows
        largest = max(largest, min(plan.input_tokens, MAX_INPUT_TOKENS))
    return overshoot_of(
        prices=prepared.prices,
        tier=requested_tier(job.request.sent_parameters),
        in_flight=max(MOST if (most := job.limits.max_concurrency) == "auto" else most, job.shards),
        input_tokens=largest,
        max_output_tokens=limit,
        is_exact=prepared.counter.is_exact,
    )
