"""Every answer of a provider has one verdict; the table of those that were seen is recorded_shapes.py."""

import gzip
import json
from collections.abc import Mapping

import pytest

from promptmill.provider.error_body import ErrorBody
from promptmill.provider.response_body import Answer
from promptmill.provider.retry_policy import GiveUp, RenewKey, StopRun, TryAgain, Verdict
from promptmill.provider.verdict import among_lines, classify, verdict_on
from promptmill.runs.judging import judge_text
from tests.promptmill.provider.recorded_shapes import SHAPES, Shape, chat, error

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z


def judged(shape: Shape) -> Answer | Verdict:
    return classify(shape.status, shape.headers, shape.body, endpoint=shape.endpoint, now=NOW)


def said(verdict: Answer | Verdict) -> str:
    """A verdict in the words of the table."""
    if isinstance(verdict, Answer):
        complaint = judge_text(verdict, None)
        return "answer" if complaint is None else f"answer: {complaint.kind}"
    if isinstance(verdict, GiveUp):
        return f"row: {verdict.kind}" if verdict.doubt is None else f"row? {verdict.doubt}"
    if isinstance(verdict, TryAgain):
        wait = "" if verdict.wait_seconds is None else f" {round(verdict.wait_seconds, 3):g}"
        word = f"wait{wait}" if verdict.holds_everybody_up else "again"
        word += ", kept back" * verdict.is_answered
        return word + ", bought" * verdict.is_bought + ", unknown" * verdict.is_unknown
    return {StopRun: "stop", RenewKey: "renew"}[type(verdict)]


def test_the_table_has_sixty_shapes_with_source_and_date() -> None:
    assert len([shape for shape in SHAPES if not shape.source.startswith("made up")]) >= 60
    assert all(shape.provider and shape.source and shape.date for shape in SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.id for shape in SHAPES])
def test_a_recorded_answer_has_its_verdict(shape: Shape) -> None:
    verdict = judged(shape)

    assert shape.verdict == said(verdict).replace("wait 5.215e+04", "wait 52151")


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.id for shape in SHAPES])
def test_a_compressed_body_without_its_header_has_the_same_verdict(shape: Shape) -> None:
    zipped = Shape(shape.provider, "", "", shape.status, gzip.compress(shape.body), "", shape.headers, shape.endpoint)
    plain, again = judged(shape), judged(zipped)

    if not isinstance(plain, TryAgain) or not plain.is_unknown:
        assert said(plain) == said(again)
    else:
        assert isinstance(again, TryAgain)


@pytest.mark.parametrize("shape", [one for one in SHAPES if one.status >= 400], ids=lambda shape: shape.id)
def test_an_error_inside_a_200_is_judged_by_its_code_as_the_status_would_be(shape: Shape) -> None:
    """Where the body names the status, or a code that says as much."""
    inside = classify(200, shape.headers, shape.body, endpoint=shape.endpoint, now=NOW)

    assert not isinstance(inside, Answer)
    assert not (isinstance(inside, GiveUp) and isinstance(judged(shape), TryAgain))


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        pytest.param({"retry-after": "120"}, "", 120, id="seconds"),
        pytest.param({"retry-after-ms": "1500"}, "", 1.5, id="milliseconds"),
        pytest.param({"retry-after": "Mon, 21 Sep 2026 14:15:20 GMT"}, "", 120, id="http-date"),
        pytest.param({"retry-after": "2026-09-21T14:15:20Z"}, "", 120, id="iso-date"),
        pytest.param({"retry-after": "2026-09-21T16:15:20+02:00"}, "", 120, id="iso-date-with-zone"),
        pytest.param({"retry-after": "1790000120"}, "", 120, id="epoch"),
        pytest.param({"retry-after": "1790000120000"}, "", 120, id="epoch-milliseconds"),
        pytest.param({"retry-after": "-5"}, "", 0, id="negative"),
        pytest.param({"retry-after": "0"}, "", 0, id="zero"),
        pytest.param({"retry-after": "99999999999"}, "", None, id="absurd"),
        pytest.param({"x-ratelimit-reset": "1790000120000"}, "", 120, id="reset-as-epoch-milliseconds"),
        pytest.param({"ratelimit-reset": "120"}, "", 120, id="reset-as-seconds"),
        pytest.param(
            {"x-ratelimit-reset-tokens": "2m0s", "x-ratelimit-remaining-tokens": "0"}, "", 120, id="nothing-left"
        ),
        pytest.param(
            {"x-ratelimit-reset-tokens": "2m0s", "x-ratelimit-remaining-tokens": "9"}, "", None, id="something-left"
        ),
        pytest.param({}, "Please retry in 34.5s.", 34.5, id="words"),
        pytest.param({}, "Please retry after 20 seconds.", 20, id="words-with-a-blank"),
    ],
)
def test_a_wait_is_read_in_every_form(headers: Mapping[str, str], message: str, seconds: float | None) -> None:
    verdict = classify(429, headers, _body(message), endpoint="chat.completions", now=NOW)

    assert isinstance(verdict, TryAgain)
    assert verdict.wait_seconds == (pytest.approx(seconds) if seconds is not None else None)


def _body(message: str) -> bytes:
    return json.dumps(error(message or "slow down a little", code="rate_limit_exceeded")).encode()


def test_thinking_is_no_part_of_the_text_and_is_kept_apart() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "y"}, {"type": "text", "text": "es"}]
    answer = classify(200, {}, json.dumps(chat(parts)).encode(), endpoint="chat.completions", now=NOW)

    assert isinstance(answer, Answer)
    assert (answer.text, answer.thinking) == ("yes", "hm")


@pytest.mark.parametrize(
    ("status", "fields", "has_answers", "expected"),
    [
        pytest.param(403, {}, True, "row: invalid_request", id="firewall-among-answers"),
        pytest.param(403, {}, False, "stop", id="no-rights"),
        pytest.param(404, {}, True, "row: invalid_request", id="model-among-answers"),
        pytest.param(404, {}, False, "stop", id="no-model"),
        pytest.param(400, {"param": "temperature"}, True, "row: invalid_request", id="parameter-among-answers"),
        pytest.param(400, {"param": "temperature"}, False, "stop", id="parameter-of-all"),
        pytest.param(400, {"param": "messages[0]"}, False, "row: invalid_request", id="row"),
        pytest.param(400, {}, False, "row: invalid_request", id="request"),
        pytest.param(402, {}, True, "stop", id="money-that-ended"),
        pytest.param(401, {}, True, "stop", id="key-that-ended"),
        pytest.param(400, {"code": "content_filter"}, False, "row: content_filter", id="filter"),
        pytest.param(500, {}, True, "again", id="server"),
    ],
)
def test_other_lines_of_a_batch_say_whose_fault_a_refused_line_is(
    status: int, fields: dict[str, str], has_answers: bool, expected: str
) -> None:
    error = ErrorBody("no", **fields)

    assert said(among_lines(verdict_on(status, {}, error, NOW), has_answers=has_answers)) == expected
