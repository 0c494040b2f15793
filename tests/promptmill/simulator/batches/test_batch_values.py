"""A batch's life and the check of its file, as values."""

import pytest

from promptmill.simulator.batches.checks import FileCheck
from promptmill.simulator.batches.lines import choose_fate
from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.state.batch import NEXT, Batch, BatchStatus, move
from promptmill.simulator.usage import load_tokenizer
from promptmill.simulator.wire import JsonValue, encode

STEPS = {(status, following) for status, allowed in NEXT.items() for following in allowed}


def make_batch(status: BatchStatus) -> Batch:
    return Batch("batch_1", "sk", "/v1/embeddings", "file-1", "24h", None, 100, 200, status=status)


def make_line(custom_id: str = "a", model: str = "m", **changes: JsonValue) -> bytes:
    body: JsonValue = {"model": model, "messages": [{"role": "user", "content": "x" * 40}]}
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body, **changes}
    return encode({name: value for name, value in line.items() if value is not None})


def check_lines(*lines: bytes, options: SimulatorOptions | None = None) -> FileCheck:
    check = FileCheck("/v1/chat/completions", options or SimulatorOptions(), load_tokenizer("estimate"))
    for number, line in enumerate(lines):
        check.add(number, line)
    check.finish()
    return check


@pytest.mark.parametrize("status", NEXT)
@pytest.mark.parametrize("following", NEXT)
def test_only_the_drawn_steps_exist(status: BatchStatus, following: BatchStatus) -> None:
    batch = make_batch(status)
    if (status, following) not in STEPS:
        with pytest.raises(ValueError, match=f"can't become {following}"):
            move(batch, following, 150)
        return
    shown = move(batch, following, 150).as_json()

    assert (shown["status"], shown[f"{following}_at"]) == (following, 150)


def test_four_statuses_are_final() -> None:
    assert {status for status in NEXT if make_batch(status).is_over} == {"completed", "failed", "expired", "cancelled"}


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        pytest.param([], "empty_file", None, id="empty"),
        pytest.param([b"\n", b"  "], "empty_file", None, id="blank"),
        pytest.param([make_line(), b"{torn"], "invalid_json_line", 2, id="torn"),
        pytest.param([b"[1]"], "invalid_json_line", 1, id="no-object"),
        pytest.param([make_line("a"), make_line("a")], "duplicate_custom_id", 2, id="duplicate"),
        pytest.param([make_line("a"), make_line("b", "n")], "mismatched_model", 2, id="two-models"),
        pytest.param([make_line(url="/v1/embeddings")], "url_mismatch", 1, id="url"),
        pytest.param([make_line(method="GET")], "invalid_method", 1, id="method"),
        pytest.param([make_line(body=None)], "missing_required_parameter", 1, id="no-body"),
        pytest.param([make_line(str(n)) for n in range(4)], "too_many_tasks", None, id="too-many"),
    ],
)
def test_file_problems_have_the_codes_of_the_provider(lines: list[bytes], code: str, line: int | None) -> None:
    (problem,) = check_lines(*lines, options=SimulatorOptions(batch_max_lines=3)).problems

    assert (problem.code, problem.line) == (code, line)


def test_right_file_has_no_problems_and_its_tokens_are_counted_where_they_are_limited() -> None:
    check = check_lines(make_line("a"), b"", make_line("b"), options=SimulatorOptions(enqueued_token_limit=1))

    assert (check.problems, check.model, check.input_tokens, [*check.offsets]) == ([], "m", 32, [0, 2])


def test_later_attempts_of_a_line_have_fates_of_their_own() -> None:
    options = SimulatorOptions(expire_ratio=0.5)
    fates = {choose_fate(options, b"x", attempt, is_expiring=True) for attempt in range(1, 20)}

    assert fates == {"answered", "expired"}
