"""What is done next with a batch: a table of ledger and provider's word on one side, the action on the other."""

import json
from decimal import Decimal
from typing import Any

import pytest

from promptmill.batch.canary import turn_of
from promptmill.batch.files import decode_line
from promptmill.batch.ledger import BatchRecord, LedgerState, State
from promptmill.batch.policy import (
    EMPTY_LOOKS,
    Action,
    BatchView,
    Collect,
    Drop,
    Halt,
    Requeue,
    Respell,
    Wait,
    after_search,
    first_step,
    judge,
    room_left,
    told_limit,
)
from promptmill.batch.services import Service, service_at
from promptmill.batch.views import status_of
from promptmill.job.spec import Batch

NOW = 1_000_000.0
FULL = (
    "token_limit_exceeded",
    "Enqueued token limit reached for gpt-4o-mini in organization org-1. Limit: 2,000,000 enqueued tokens. Please try "
    "again once some in_progress batches have been completed.",
)


def record(state: State = "submitted", **changes: object) -> BatchRecord:
    """A batch of 100 rows and 10,000 tokens."""
    values: dict[str, object] = {
        "key": "k-0",
        "requests": 100,
        "bytes": 1_000,
        "input_tokens": 10_000,
        "reserved_usd": Decimal(1),
        "packed_at": NOW - 100,
        "state": state,
        "batch_id": "batch_1",
        "changed_at": NOW - 10,
        **changes,
    }
    return BatchRecord(**values)  # pyright: ignore[reportArgumentType]


def view(status: str, *errors: tuple[str, str], output: str = "", error: str = "", expires: float = NOW + 80_000):
    """The provider's word."""
    return BatchView("batch_1", status, "file-1", output, error, 0, 0, 100, NOW - 90, expires, "k-0", errors)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("packed", "recover"),
        ("uploaded", "create"),
        ("creating", "search"),
        ("submitted", "look"),
    ],
)
def test_the_next_step_continues_a_batch_after_any_call_of_a_killed_process(state: State, expected: str):
    assert first_step(record(state), NOW) == expected


def test_a_batch_waits_until_its_next_try_is_due():
    assert first_step(record("uploaded", not_before=NOW + 1), NOW) == "wait"


@pytest.mark.parametrize(
    ("found", "age", "expected"),
    [(True, 0, "adopt"), (False, 59, "wait"), (False, 60, "create")],
    ids=["there-is-one", "lists-may-lag", "absence-is-believed"],
)
def test_a_search_comes_before_a_second_creation(found: bool, age: float, expected: str):
    assert after_search(record("creating", changed_at=NOW - age), found, NOW, 60) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(view("validating"), Wait(), id="validating"),
        pytest.param(view("in_progress"), Wait(), id="in-progress"),
        pytest.param(view("cancelling"), Wait(), id="cancelling"),
        pytest.param(view("completed", output="o"), Collect(), id="completed"),
        pytest.param(view("completed", error="e"), Collect(), id="completed-all-failed"),
        pytest.param(view("expired", output="o", error="e"), Collect(), id="expired-with-output"),
        pytest.param(view("expired"), Collect(), id="expired-without-output"),
        pytest.param(view("cancelled"), Collect(), id="cancelled"),
        pytest.param(view("failed", ("x", "y"), output="o"), Collect(), id="failed-but-paid"),
        pytest.param(view("failed", FULL), Drop(5_000, 60.0), id="full-and-alone-halves"),
        pytest.param(
            view("failed", ("token_limit_exceeded", "Limit: 9,000 enqueued tokens.")), Drop(9_000), id="full-limit-told"
        ),
        pytest.param(
            view("failed", ("invalid_request", "Cannot find file file-1")), Requeue(60.0), id="file-not-visible"
        ),
        pytest.param(view("resting", expires=NOW - 7_200), Collect(), id="unknown-and-expired"),
    ],
)
def test_every_status_has_its_branch(seen: BatchView, expected: Action):
    assert judge(record(), seen, NOW, 60, is_alone=True) == expected


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        pytest.param(None, "another key or project", id="unknown-to-this-key"),
        pytest.param(view("failed", ("mismatched_model", "one model")), "mismatched_model", id="one-model-a-batch"),
        pytest.param(view("failed", ("duplicate_custom_id", "x")), "duplicate_custom_id", id="duplicate-custom-id"),
    ],
)
def test_the_job_stops_and_says_why_when_every_batch_would_fail(seen: BatchView | None, words: str):
    action = judge(record(empty_looks=EMPTY_LOOKS), seen, NOW, 60, is_alone=True)

    assert isinstance(action, Halt)
    assert words in action.message


def test_the_wait_for_a_full_queue_grows_while_other_batches_are_in_it():
    waits = [judge(record(refusals=n), view("failed", FULL), NOW, 60, is_alone=False) for n in range(6)]

    assert waits == [Requeue(60.0 * factor) for factor in (1, 2, 4, 8, 16, 16)]


def test_a_batch_of_unknown_status_is_reported_and_kept_until_it_expires():
    action = judge(record(), view("resting"), NOW, 60, is_alone=True)

    assert isinstance(action, Wait)
    assert "resting" in action.note


def test_a_completed_batch_without_files_counts_as_empty_after_some_looks():
    looks = [judge(record(empty_looks=n), view("completed"), NOW, 60, is_alone=True) for n in range(EMPTY_LOOKS + 1)]

    assert [type(one) for one in looks] == [Wait] * EMPTY_LOOKS + [Collect]


def test_a_file_that_the_provider_refuses_too_often_ends_the_job():
    failed = view("failed", ("server_glitch", "try later"))

    assert isinstance(judge(record(refusals=3), failed, NOW, 60, is_alone=True), Halt)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (FULL[1], 2_000_000),
        ("The number of enqueued tokens has surpassed the configured limit of 30K for the deployment", 30_000),
        ("Enqueued token limit reached for gpt-4o in organization org-1", None),
    ],
)
def test_the_queue_limit_is_read_from_the_refusal(message: str, expected: int | None):
    assert told_limit([("token_limit_exceeded", message)]) == expected


def test_room_is_the_limit_minus_what_live_batches_hold():
    live = [record(), record()]
    batch = Batch(enqueued_tokens=50_000)  # pyright: ignore[reportCallIssue]
    room = room_left(batch, Service(), LedgerState(40_000), live, Decimal(3), Decimal(10))

    assert room is not None
    assert (room.requests, room.tokens, room.usd) == (50_000, 20_000, Decimal(5))
    assert room_left(batch, Service(), LedgerState(20_000), live, Decimal(0), None) is None


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"7", b'{"custom_id": 7}', b'{"custom_id": "a", "response": {"status_code": "x"}}', b"\xff\xfe"],
)
def test_a_torn_line_counts_as_no_line(line: bytes):
    assert decode_line(line) is None


def test_a_line_without_response_or_error_was_never_run():
    line = decode_line(b'{"custom_id": "a", "response": null, "error": null}')

    assert line is not None
    assert (line.status, line.code) == (None, "")


def test_the_rest_goes_out_once_the_first_few_rows_have_lain_for_an_hour():
    """A provider may take a day for a small batch too."""
    canary = [record(is_canary=True, packed_at=NOW)]
    turns = [turn_of(5, 1_000, canary, NOW + seconds, has_answers=False) for seconds in (0, 3_599, 3_600)]

    assert turns == ["wait", "wait", "rest"]


def test_a_batch_that_isnt_shown_is_looked_for_again():
    looks = [judge(record(empty_looks=n), None, NOW, 60, is_alone=True) for n in range(EMPTY_LOOKS + 1)]

    assert [type(look) for look in looks] == [Wait] * EMPTY_LOOKS + [Halt]


def test_the_other_spelling_of_an_endpoint_is_tried_once():
    refused = view("failed", ("url_mismatch", "The URL does not match"))
    actions = [judge(record(refusals=n), refused, NOW, 60, is_alone=True) for n in (0, 1)]

    assert [type(action) for action in actions] == [Respell, Halt]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("COMPLETED", "completed"),
        ("VALIDATING", "validating"),
        ("PROGRESS", "in_progress"),
        ("IN_PROGRESS", "in_progress"),
        ("QUEUED", "queued"),
        ("RUNNING", "in_progress"),
        ("SUCCESS", "completed"),
        ("TIMEOUT_EXCEEDED", "expired"),
        ("CANCELLATION_REQUESTED", "cancelling"),
        ("canceled", "cancelled"),
        ("JOB_STATE_SUCCEEDED", "completed"),
        ("In Progress", "in_progress"),
        ("error", "failed"),
        ("resting", "resting"),
        (None, ""),
    ],
)
def test_other_words_for_a_status_are_read_as_ours(told: str | None, expected: str):
    assert status_of(told) == expected


@pytest.mark.parametrize(
    ("address", "most_bytes", "file_seconds"),
    [
        ("https://api.openai.com/v1", 200_000_000, None),
        ("https://eu.api.openai.com/v1", 200_000_000, None),
        ("https://mine.openai.azure.com/openai/v1/", 200_000_000, 1_209_600),
        ("https://mine.services.ai.azure.com/openai/v1", 200_000_000, 1_209_600),
        ("https://api.groq.com/openai/v1", 200_000_000, None),
        ("https://api.together.xyz/v1", 100_000_000, None),
        ("http://localhost:4000", 200_000_000, None),
        ("no address", 200_000_000, None),
    ],
)
def test_what_a_provider_allows_is_known_by_its_host(address: str, most_bytes: int, file_seconds: int | None):
    service = service_at(address)

    assert (service.max_bytes, service.file_seconds) == (most_bytes, file_seconds)


BODY = {"choices": [{"message": {"content": "good"}}]}
FAULT = {"code": "x", "message": "no"}


@pytest.mark.parametrize(
    ("response", "error", "expected"),
    [
        pytest.param({"status_code": 200, "body": BODY}, None, (200, BODY), id="as-documented"),
        pytest.param({"status_code": "200", "body": BODY}, None, (200, BODY), id="status-as-text"),
        pytest.param({"status_code": "200 OK", "body": BODY}, None, (200, BODY), id="status-with-its-name"),
        pytest.param({"status": 200, "body": BODY}, None, (200, BODY), id="status-by-another-name"),
        pytest.param({"status_code": 200, "body": json.dumps(BODY)}, None, (200, BODY), id="body-as-text"),
        pytest.param({"status_code": 200, "body": "{torn"}, None, (200, "{torn"), id="body-as-torn-text"),
        pytest.param({"status_code": 200, "body": BODY}, FAULT, (200, BODY), id="an-answer-and-an-error"),
        pytest.param({"status_code": 400, "body": {}}, FAULT, (400, {"error": FAULT}), id="refused-beside-the-body"),
        pytest.param({"status_code": 400, "body": None}, FAULT, (400, {"error": FAULT}), id="refused-without-a-body"),
        pytest.param({"status_code": 0, "body": {}}, FAULT, (None, FAULT), id="never-run"),
        pytest.param({}, FAULT, (None, FAULT), id="an-empty-response"),
        pytest.param(None, FAULT, (None, FAULT), id="only-an-error"),
    ],
)
def test_a_line_is_read_wherever_the_server_puts_its_answer(
    response: Any, error: Any, expected: tuple[int | None, Any]
):
    line = decode_line(json.dumps({"custom_id": "a", "response": response, "error": error}).encode())

    assert line is not None
    assert (line.status, line.body) == expected
