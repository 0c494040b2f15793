"""Reads a batch's result files into answers, in the order of the batch's lines. The provider may use any order.

A first pass finds the lines (places.py). This second pass reads them in our order, a few thousand rows at a time.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from promptmill.batch.files import Line, decode_line
from promptmill.batch.places import Places
from promptmill.batch.row_numbers import ANSWERED, UNBILLED, UNSURE
from promptmill.job.spec import Endpoint
from promptmill.prompts.confidence import confidence_of
from promptmill.provider.attempt import VectorHabits
from promptmill.provider.billing import Billing
from promptmill.provider.error_body import read_error_payload
from promptmill.provider.json_fields import mapping_of
from promptmill.provider.redaction import redact
from promptmill.provider.response_body import Answer, Unreadable, answer_of_text, read_payload
from promptmill.provider.retry_policy import GiveUp, StopRun, TryAgain
from promptmill.provider.verdict import among_lines, verdict_on
from promptmill.records import Completion, Failure, FailureKind, Result, Usage
from promptmill.runs.judging import Validate, judge_input, judge_only_vector, judge_text, refused_text

_SLICE_ROWS = 2_000
_UNRUN: dict[str, FailureKind] = {"batch_expired": "batch_expired", "batch_cancelled": "batch_cancelled"}
_HTTP_STATUSES = range(100, 600)  # a line may hold any number


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected cost of a row: the mean of its batch, since a result line doesn't say what was sent."""

    input_tokens: int
    reserved_usd: Decimal


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read the lines of a job."""

    endpoint: Endpoint
    billing: Billing
    validate: Validate | None
    secrets: Sequence[str]  # we cut these out of everything that a line says
    unmetered: Expected  # the cost of an answer without usage
    has_answers: bool = False  # the provider has answered lines of this job
    is_canary: bool = False  # if all lines are refused, no row is to blame
    vectors: VectorHabits = field(default_factory=VectorHabits)  # how long embeddings are, once one is known
    allow_empty: bool = False  # an empty text is an answer
    not_before: float = 0.0  # seconds since the epoch; no result gets an earlier time


@dataclass(slots=True)
class Slice:
    """Some rows of a batch: final results, and lines that another batch may answer better."""

    results: list[Result] = field(default_factory=list[Result])
    leftovers: list[Result] = field(default_factory=list[Result])
    unread: int = 0  # leftovers with an unreadable answer, which the provider bills
    halt: str = ""  # why the whole run has to stop, if a line says so
    outcomes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # place of a line, what became of it

    def add(self, place: int, read: "Read") -> None:
        """Take the result of the row whose line is at a place of the batch's file."""
        self.outcomes.append((place, ANSWERED if read.is_final else UNSURE if read.is_unread else UNBILLED))
        (self.results if read.is_final else self.leftovers).append(read.result)
        self.unread += read.is_unread
        self.halt = self.halt or read.halt


@dataclass(frozen=True, slots=True)
class Read:
    """What a line says of its row."""

    result: Result
    is_final: bool  # the next batch may answer it: it expired or failed at the server
    is_unread: bool = False  # the answer can't be read, but the provider bills it
    halt: str = ""


def read_slices(places: Places, reading: Reading, text_tokens: NDArray[np.uint32] | None = None) -> Iterator[Slice]:
    """The rows that have a line, in the order of the batch's file, a few thousand at a time.

    `text_tokens` are each row's own text tokens, to see whether the provider has cut the text; None: nobody knows.
    """
    opened = [path.open("rb") for path in places.files]
    try:
        current = Slice()
        for place in np.flatnonzero(places.numbers >= 0):
            file = opened[places.numbers[place]]
            file.seek(int(places.offsets[place]))
            line = decode_line(file.readline())
            if line is not None:
                tokens = 0 if text_tokens is None else int(text_tokens[place])
                current.add(int(place), read_line(line, reading, max(time.time(), reading.not_before), tokens))
            if len(current.results) + len(current.leftovers) >= _SLICE_ROWS:
                yield current
                current = Slice()
        yield current
    finally:
        for file in opened:
            file.close()


def read_line(line: Line, reading: Reading, now: float, text_tokens: int = 0) -> Read:
    """A row's result; never raises, whatever the line holds. `text_tokens` of the row's texts, 0 where nobody knows."""
    if line.status is None:
        kind = _UNRUN.get(line.code, "server_error")
        message = (
            read_error_payload(line.body, reading.secrets).message
            if mapping_of(line.body).get("message")
            else redact(line.code, reading.secrets)
        )
        return Read(_failure(line, kind, message or "the request was not run", None, now), is_final=False)
    if not line.is_answered:
        return _refused(line, reading, now)
    try:
        answer = read_payload(reading.endpoint, line.body, reading.secrets)
    except Unreadable as error:
        failure = _failure(line, "invalid_response", str(error), 200, now)
        return Read(failure, is_final=False, is_unread=True)
    return Read(_judged(line, answer, reading, now, text_tokens), is_final=True)


def _refused(line: Line, reading: Reading, now: float) -> Read:
    """An HTTP error of a line; status 0 is what some servers write for a request that never reached the model."""
    error = read_error_payload(line.body, reading.secrets)
    status = 0 if line.status is None or line.status not in _HTTP_STATUSES else line.status
    if status < 400:
        return Read(_failure(line, "server_error", error.message, status or None, now), is_final=False)
    found = verdict_on(status, {}, error, now)
    verdict = among_lines(found, has_answers=reading.has_answers, is_canary=reading.is_canary)
    if isinstance(verdict, StopRun):
        return Read(_failure(line, "invalid_request", error.message, status, now), is_final=False, halt=verdict.message)
    if isinstance(verdict, TryAgain) and verdict.generated:
        salvaged = _judged(line, answer_of_text(verdict.generated), reading, now, text_tokens=0)
        if isinstance(salvaged, Completion):
            return Read(salvaged, is_final=True)
    is_final = isinstance(verdict, GiveUp) or verdict.is_answered
    return Read(_failure(line, verdict.kind, verdict.message, status, now), is_final=is_final)


def _judged(line: Line, answer: Answer, reading: Reading, now: float, text_tokens: int) -> Result:
    charge = reading.billing.charge(answer, reading.unmetered.input_tokens, reading.unmetered.reserved_usd)
    vector = answer.embeddings[0] if answer.embeddings else None
    complaint = judge_input(answer, text_tokens)
    if complaint is not None:
        pass
    elif reading.endpoint == "embeddings":
        complaint = judge_only_vector(answer, reading.vectors)
    else:
        complaint = judge_text(answer, reading.validate, allow_empty=reading.allow_empty)
    if complaint is not None:
        return Failure(
            custom_id=line.custom_id,
            kind=complaint.kind,
            message=complaint.message,
            http_status=200,
            attempts=1,
            response=refused_text(answer),
            usage=charge.usage,
            cost_usd=charge.cost_usd,
            latency_seconds=None,
            answered_at=now,
            model=answer.model,
        )
    return Completion(
        custom_id=line.custom_id,
        response=answer.text if answer.text is not None or vector is not None else "",
        embedding=vector,
        model=answer.model,
        finish_reason=answer.finish_reason,
        usage=charge.usage,
        cost_usd=charge.cost_usd,
        latency_seconds=None,
        attempts=1,
        response_id=answer.response_id,
        answered_at=now,
        confidence=None if answer.logprobs is None else confidence_of(answer.text or "", answer.logprobs),
    )


def _failure(line: Line, kind: FailureKind, message: str, status: int | None, now: float) -> Failure:
    return Failure(
        custom_id=line.custom_id,
        kind=kind,
        message=message,
        http_status=status,
        attempts=1,
        response=None,
        usage=Usage(),
        cost_usd=Decimal(0),
        latency_seconds=None,
        answered_at=now,
    )


def total_cost(results: Iterable[Result]) -> Decimal:
    """What results cost."""
    return sum((result.cost_usd for result in results), Decimal(0))
