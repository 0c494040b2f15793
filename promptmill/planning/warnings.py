"""What a person should know of a job before it runs, though it may run."""

from promptmill.limits.approved_cap import describe_cap
from promptmill.limits.concurrency import MOST
from promptmill.limits.overshoot import Overshoot, overshoot_of
from promptmill.limits.pricing import requested_tier
from promptmill.output.manifest import Manifest
from promptmill.planning.chunks import Plan
from promptmill.planning.estimate import Estimate
from promptmill.planning.prepared_job import Prepared
from promptmill.prompts.tokens import LOW_DETAIL_TOKENS, MEDIA_TOKENS
from promptmill.provider.response_body import MAX_INPUT_TOKENS


def warnings_of(prepared: Prepared, plan: Plan, estimate: Estimate, sample: Manifest | None) -> list[str]:
    """One sentence each, by what is planned so far."""
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
