"""A row's request → its result."""

import time
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from promptmill.limits.pricing import stored_usd
from promptmill.planning.plan import Unrendered
from promptmill.prompts.confidence import confidence_of
from promptmill.provider.attempt import Call, Complaint, Outcome
from promptmill.provider.client import Client
from promptmill.provider.response_body import Answer
from promptmill.records import Completion, Failure, Request, Result, Usage
from promptmill.runs.judging import Validate, judge_input, judge_text, refused_text
from promptmill.stop import Slot


async def complete_request(
    client: Client, request: Request, slot: Slot, validate: Validate | None, *, allow_empty: bool = False
) -> Result:
    """One row's result. Raises: RunStopped, CancelledError (see Client.send)."""
    call = Call(request.body, request.input_tokens, request.max_output_tokens)

    def judge(answer: Answer) -> Complaint | None:
        cut = judge_input(answer, request.text_tokens)
        return judge_text(answer, validate, allow_empty=allow_empty) if cut is None else cut

    outcome = await client.send(call, slot, judge)
    answer = outcome.answer
    if answer is None or outcome.complaint is not None or outcome.failure is not None:
        return failure_of(request.custom_id, outcome, outcome.usage, outcome.cost_usd)
    return completion_of(request.custom_id, outcome, answer, None, outcome.usage, outcome.cost_usd)


def completion_of(
    custom_id: str,
    outcome: Outcome,
    answer: Answer,
    vector: NDArray[np.float32] | None,
    usage: Usage,
    cost_usd: Decimal,
) -> Completion:
    """A row's answer: its text, or its vector."""
    text = answer.text if answer.text is not None else ""
    return Completion(
        custom_id=custom_id,
        response=text if vector is None else None,
        embedding=vector,
        model=answer.model,
        finish_reason=answer.finish_reason,
        usage=usage,
        cost_usd=stored_usd(cost_usd),
        latency_seconds=0.0 if outcome.latency_seconds is None else outcome.latency_seconds,
        attempts=outcome.attempts,
        response_id=answer.response_id,
        answered_at=time.time(),
        confidence=None if answer.logprobs is None else confidence_of(text, answer.logprobs),
    )


def failure_of(custom_id: str, outcome: Outcome, usage: Usage, cost_usd: Decimal) -> Failure:
    """Why a row has no answer."""
    answer, complaint, refused = outcome.answer, outcome.complaint, outcome.failure
    if refused is not None:
        kind, message, status = refused.kind, refused.message, refused.status
    else:
        assert complaint is not None  # noqa: S101 - an outcome without failure or complaint is a completion
        kind, message, status = complaint.kind, complaint.message, 200
    return Failure(
        custom_id=custom_id,
        kind=kind,
        message=message,
        http_status=status,
        attempts=outcome.attempts,
        response=None if answer is None else refused_text(answer),
        usage=usage,
        cost_usd=stored_usd(cost_usd),
        latency_seconds=outcome.latency_seconds,
        answered_at=time.time(),
        model=answer.model if answer is not None else "",
    )


def unrendered_failure(row: Unrendered) -> Failure:
    """The failure of a row for which nothing was sent."""
    return Failure(
        custom_id=row.custom_id,
        kind=row.kind,
        message=row.message,
        http_status=None,
        attempts=0,
        response=row.raw,
        usage=Usage(),
        cost_usd=Decimal(0),
        latency_seconds=None,
        answered_at=time.time(),
    )
