"""Files and batches over the wire, with the real SDK."""

import io
import json
import time
from collections import Counter
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import Batch

from promptmill.simulator import Simulator

OVER = ("completed", "failed", "expired", "cancelled")
DEADLINE_SECONDS = 10.0


def make_lines(count: int, text: str = "row {}") -> bytes:
    lines = [
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-6-luna", "messages": [{"role": "user", "content": text.format(number)}]},
        }
        for number in range(count)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def submit(client: OpenAI, content: bytes, **fields: Any) -> Batch:
    file = client.files.create(file=("rows.jsonl", io.BytesIO(content)), purpose="batch")
    return create(client, file.id, **fields)


def create(client: OpenAI, file_id: str, **fields: Any) -> Batch:
    return client.batches.create(
        input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h", **fields
    )


def wait(client: OpenAI, batch: Batch) -> Batch:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while batch.status not in OVER:
        assert time.monotonic() < deadline, batch
        time.sleep(0.005)
        batch = client.batches.retrieve(batch.id)
    return batch


def read_lines(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()] if file_id else []


def test_batch_is_answered_like_online_requests_and_billed_apart(simulator: Simulator, client: OpenAI) -> None:
    batch = submit(client, make_lines(5), metadata={"digest": "abc"})
    assert (batch.status, batch.metadata) == ("validating", {"digest": "abc"})
    done = wait(client, batch)
    lines = {line["custom_id"]: line for line in read_lines(client, done.output_file_id)}
    online = client.chat.completions.create(model="gpt-6-luna", messages=[{"role": "user", "content": "row 3"}])

    assert done.status == "completed"
    assert done.error_file_id is None
    assert done.request_counts is not None
    assert done.request_counts.completed == 5
    assert lines.keys() == {f"r{number}" for number in range(5)}
    assert lines["r3"]["response"]["body"]["choices"][0]["message"]["content"] == online.choices[0].message.content
    tiers: Any = simulator.ledger()["tiers"]
    assert (tiers["batch"]["gpt-6-luna"]["requests"], tiers["default"]["gpt-6-luna"]["requests"]) == (5, 1)
    assert done.usage is not None
    assert done.usage.input_tokens == tiers["batch"]["gpt-6-luna"]["input_tokens"]
    assert done.expires_at == done.created_at + 86_400


def test_batch_passes_through_its_statuses(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(batch_seconds=0.3)
    done = wait(client, submit(client, make_lines(2)))

    assert done.created_at <= (done.in_progress_at or 0) <= (done.finalizing_at or 0) <= (done.completed_at or 0)


def test_batch_whose_lines_all_fail_has_only_an_error_file(client: OpenAI) -> None:
    done = wait(client, submit(client, make_lines(3, "POISON-400 {}")))
    line = read_lines(client, done.error_file_id)[0]

    assert (done.status, done.output_file_id) == ("completed", None)
    assert done.request_counts is not None
    assert done.request_counts.failed == 3
    assert (line["error"], line["response"]["status_code"]) == (None, 400)
    assert line["response"]["body"]["error"]["type"] == "invalid_request_error"


def test_bad_file_fails_the_batch_later_and_not_its_creation(client: OpenAI) -> None:
    done = wait(client, submit(client, make_lines(2) + make_lines(1)))

    assert (done.status, done.output_file_id) == ("failed", None)
    assert done.errors is not None
    assert [error.code for error in done.errors.data or []] == ["duplicate_custom_id"]


def test_missing_file_fails_the_batch(client: OpenAI) -> None:
    done = wait(client, create(client, "file-unknown"))

    assert done.errors is not None
    assert [(error.code, error.param) for error in done.errors.data or []] == [("invalid_request", "file_id")]


def test_full_queue_fails_the_second_batch(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(enqueued_token_limit=60, batch_seconds=0.5)
    first, second = submit(client, make_lines(5)), submit(client, make_lines(5))
    done = wait(client, second)

    assert done.errors is not None
    message = (done.errors.data or [])[0].message
    assert (message or "").startswith(
        "Enqueued token limit reached for gpt-6-luna in organization org-sim. Limit: 60 e"
    )
    assert wait(client, first).status == "completed"
    assert wait(client, submit(client, make_lines(5))).status == "completed"


def test_expired_batch_keeps_what_was_done(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(expire_ratio=0.5, batch_expire_first=1)
    done = wait(client, submit(client, make_lines(40)))
    output, errors = read_lines(client, done.output_file_id), read_lines(client, done.error_file_id)

    assert done.status == "expired"
    assert {line["error"]["code"] for line in errors} == {"batch_expired"}
    assert 5 < len(output) < 35
    assert len({line["custom_id"] for line in output + errors}) == 40
    assert simulator.ledger()["totals"]["requests"] == len(output)  # pyright: ignore
    assert wait(client, submit(client, make_lines(2))).status == "completed"


def test_cancelled_batch_keeps_what_was_done(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(batch_seconds=4.0, cancel_error_lines=True)
    batch = submit(client, make_lines(40))
    while not (batch.request_counts and batch.request_counts.completed):
        batch = client.batches.retrieve(batch.id)
    cancelling = client.batches.cancel(batch.id)
    done = wait(client, cancelling)
    output, errors = read_lines(client, done.output_file_id), read_lines(client, done.error_file_id)

    assert (cancelling.status, cancelling.output_file_id, done.status) == ("cancelling", None, "cancelled")
    assert 0 < len(output) < 40
    assert len(output) + len(errors) == 40
    assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError, match="'cancelled'"):
        client.batches.cancel(batch.id)


def test_lines_can_be_wrong_torn_missing_and_doubled(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(line_error_ratio=0.2, line_missing_ratio=0.2, line_garbage_ratio=0.2, line_duplicate_ratio=0.2)
    done = wait(client, submit(client, make_lines(200)))
    assert done.output_file_id is not None
    whole: Counter[str] = Counter()
    torn = 0
    for line in client.files.content(done.output_file_id).text.splitlines():
        try:
            whole[json.loads(line)["custom_id"]] += 1
        except json.JSONDecodeError:
            torn += 1
    statuses = {line["response"]["status_code"] for line in read_lines(client, done.error_file_id)}

    assert torn > 0
    assert set(whole.values()) == {1, 2}
    assert len(whole) + torn < 200
    assert statuses == {400, 500}
    assert list(whole) != sorted(whole, key=lambda custom_id: int(custom_id[1:]))


def test_clean_batch_may_say_an_empty_error_file_id(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(empty_error_file_id=True)

    assert wait(client, submit(client, make_lines(1))).error_file_id == ""


def test_result_file_may_be_hidden_at_first(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(file_hidden_seconds=60.0)
    done = wait(client, submit(client, make_lines(1)))
    assert done.output_file_id is not None
    with pytest.raises(openai.NotFoundError):
        client.files.content(done.output_file_id)


def test_batch_whose_answer_was_lost_is_found_in_the_list(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(lose_create_ratio=1.0)
    with pytest.raises(openai.APIConnectionError):
        submit(client, make_lines(1), metadata={"digest": "abc"})

    assert [batch.metadata for batch in client.batches.list()] == [{"digest": "abc"}]


def test_uploads_and_creations_may_be_refused(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(create_429_ratio=1.0)
    with pytest.raises(openai.RateLimitError) as refused:
        submit(client, make_lines(1))
    simulator.configure(upload_429_ratio=1.0)
    with pytest.raises(openai.RateLimitError):
        submit(client, make_lines(1))

    assert refused.value.response.headers["retry-after"] == "1"
    assert list(client.batches.list()) == []


def test_lists_are_paged_newest_first_and_apart_by_key(simulator: Simulator, client: OpenAI) -> None:
    simulator.configure(batch_seconds=0.0)
    made = [submit(client, make_lines(1)).id for _ in range(5)]
    other = client.with_options(api_key="sk-other")

    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
    assert list(other.batches.list()) == []
    assert len(list(client.files.list(purpose="batch", limit=2, order="asc"))) == 5
    for call in (other.batches.retrieve, other.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            call(made[0])


def test_files_are_uploaded_listed_read_and_deleted(client: OpenAI) -> None:
    content = b"\r\n--x\r\n" * 40_000
    file = client.files.create(file=("a.jsonl", io.BytesIO(content)), purpose="batch")
    assert client.files.retrieve(file.id).bytes == len(content)
    assert client.files.content(file.id).read() == content
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    with pytest.raises(openai.BadRequestError, match="Must be .jsonl"):
        client.files.create(file=("a.csv", io.BytesIO(b"x")), purpose="batch")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"endpoint": "/v1/nothing"}, "endpoint|Invalid value: '/v1/nothing'", id="endpoint"),
        pytest.param({"completion_window": "1h"}, "Value must be '24h'", id="window"),
        pytest.param({"metadata": {"k": "v" * 513}}, "string too long", id="metadata"),
    ],
)
def test_wrong_batches_are_refused_at_once(client: OpenAI, fields: dict[str, Any], problem: str) -> None:
    arguments: Any = {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        **fields,
    }
    with pytest.raises(openai.BadRequestError, match=problem):
        client.batches.create(**arguments)
