"""An answer is read tolerantly in form and strictly in substance."""

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promptmill.provider.body_parser import NoJson, parse_body
from promptmill.provider.response_body import Unreadable, read_payload
from promptmill.provider.usage import ToldUsage, usage_of
from tests.support.odd_answers import ODD_NUMBERS, encode

EVENTS = (
    b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"po"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"s\xe2\x80\xa8"},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
)


SMALL = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(st.characters(exclude_categories=("Cs",)))
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


@given(SMALL)
def test_what_the_first_parser_reads_the_second_reads_alike(value: Any) -> None:
    body = encode(value)

    assert parse_body(b"\xef\xbb\xbf" + body) == parse_body(body)
    assert parse_body(b": still at it\n\n" + body) == parse_body(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'{"a": NaN, "b": Infinity}', {"a": None, "b": None}, id="numbers-that-json-does-not-know"),
        pytest.param(b'{"a":"caf\\ud83d"}', {"a": "caf\ufffd"}, id="half-an-emoji"),
        pytest.param(b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}, id="a-whole-emoji"),
        pytest.param(b'{"a":"\xff"}', {"a": "\ufffd"}, id="no-utf-8"),
        pytest.param(b'{"a":"x\ny"}', {"a": "x\ny"}, id="a-line-break-in-a-text"),
    ],
)
def test_json_as_servers_write_it_is_read(body: bytes, expected: object) -> None:
    assert parse_body(body) == expected


@pytest.mark.parametrize(
    "body", [b"", b"yes", b'{"a":', b"<html>", b"data: {torn", b"\x1f\x8b torn", b"[" * 100_000], ids=range(7)
)
def test_what_holds_no_json_is_told_apart(body: bytes) -> None:
    with pytest.raises(NoJson):
        parse_body(body)


def test_the_pieces_of_an_event_stream_are_joined_with_its_usage() -> None:
    answer = read_payload("chat.completions", parse_body(EVENTS), ())

    assert (answer.text, answer.finish_reason, answer.usage) == ("pos\u2028", "stop", ToldUsage(3, 2))


def test_an_event_stream_that_ends_before_its_answer_is_no_answer() -> None:
    with pytest.raises(NoJson):
        parse_body(EVENTS.split(b"\n\n", maxsplit=1)[0])


def _told(prompt: Any = 10, completion: Any = 5, total: Any = None, reasoning: Any = None) -> dict[str, Any]:
    details = {} if reasoning is None else {"completion_tokens_details": {"reasoning_tokens": reasoning}}
    totals = {} if total is None else {"total_tokens": total}
    return {"prompt_tokens": prompt, "completion_tokens": completion, **totals, **details}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(_told(total=15), ToldUsage(10, 5), id="as-openai"),
        pytest.param(_told(total=15, reasoning=4), ToldUsage(10, 5, 0, 0, 4), id="reasoning-inside"),
        pytest.param(_told(32, 9, 135, 94), ToldUsage(32, 103, 0, 0, 94), id="reasoning-beside-xai"),
        pytest.param(_told(20, 424, 1016), ToldUsage(20, 996, 0, 0, 572), id="reasoning-beside-and-unsaid-gemini"),
        pytest.param(_told(21, 0, 81, 60), ToldUsage(21, 60, 0, 0, 60), id="nothing-but-reasoning"),
        pytest.param(_told(10, 5, None, 94), ToldUsage(10, 99, 0, 0, 94), id="more-reasoning-than-output"),
        pytest.param(_told(10, 5, 14), ToldUsage(10, 5), id="a-total-that-is-too-small"),
        pytest.param(_told("12", "3"), ToldUsage(12, 3), id="text"),
        pytest.param({"input_tokens": 12, "output_tokens": 3}, ToldUsage(12, 3), id="the-other-names"),
        pytest.param(_told(None, 5, 15), ToldUsage(10, 5), id="input-by-the-total"),
        pytest.param(_told(10, None, 15), ToldUsage(10, 5), id="output-by-the-total"),
        pytest.param(_told(None, None, 0), ToldUsage(), id="nulls"),
        pytest.param(_told(-1, 5), ToldUsage(None, 5), id="negative"),
        pytest.param(_told(10, 2**70), ToldUsage(10), id="beyond-reason"),
        pytest.param([{"prompt_tokens": 12}], ToldUsage(), id="a-list"),
        pytest.param("unknown", ToldUsage(), id="a-word"),
    ],
)
def test_usage_is_read_in_every_spelling(value: Any, expected: ToldUsage) -> None:
    assert usage_of(value) == expected


NUMBER = st.one_of(st.none(), st.sampled_from(ODD_NUMBERS), st.integers(-5, 200), st.text(max_size=4))


@given(NUMBER, NUMBER, NUMBER, NUMBER)
@example(0, None, 1, 12.0)  # more reasoning than the total leaves for it
def test_no_usage_is_negative_and_no_part_exceeds_its_whole(prompt: Any, done: Any, total: Any, thought: Any) -> None:
    told = usage_of(_told(prompt, done, total, thought))

    assert (told.input_tokens or 0) >= 0
    assert (told.reasoning_tokens or 0) >= 0
    if told.output_tokens is not None:
        assert told.output_tokens >= (told.reasoning_tokens or 0)


def _embeddings(*items: dict[str, Any]) -> Any:
    return parse_body(encode({"data": list(items), "model": "m"}))


def _base64(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [3, 4]}], id="in-order"),
        pytest.param([{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}], id="in-other-order"),
        pytest.param([{"embedding": [1, 2]}, {"embedding": [3, 4]}], id="without-index"),
        pytest.param([{"embedding": [1, 2]}, {"index": 1, "embedding": [3, 4]}], id="index-0-left-out"),
        pytest.param([{"index": 1, "embedding": [3, 4]}, {"embedding": [1, 2]}], id="index-0-left-out-and-last"),
        pytest.param([{"embedding": _base64(1, 2)}, {"embedding": [3, 4]}], id="base64-beside-decimals"),
    ],
)
def test_vectors_come_in_the_order_of_their_inputs(items: list[dict[str, Any]]) -> None:
    vectors = read_payload("embeddings", _embeddings(*items), ()).embeddings

    assert [None if vector is None else vector.tolist() for vector in vectors] == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}], id="the-same-index-twice"),
        pytest.param([{"embedding": [1]}, {"embedding": [2]}, {"index": 2, "embedding": [3]}], id="two-left-out"),
        pytest.param([{"index": 1, "embedding": [1]}, {"index": 2, "embedding": [2]}], id="counted-from-one"),
        pytest.param([{"embedding": [1, 2]}, {"embedding": [3]}], id="other-lengths"),
    ],
)
def test_vectors_whose_rows_are_in_doubt_are_no_answer(items: list[dict[str, Any]]) -> None:
    with pytest.raises(Unreadable):
        read_payload("embeddings", _embeddings(*items), ())


@pytest.mark.parametrize(
    "vector",
    [[], [0, 0], [0.1, None], ["a"], [[1]], None, {}, "!", _base64(0, 0), _base64(float("nan"), 1), [1e39]],
    ids=repr,
)
def test_a_vector_that_can_not_be_used_is_none_and_costs_no_other(vector: Any) -> None:
    items = [{"index": 0, "embedding": vector}, {"index": 1, "embedding": [3, 4]}]
    useless, good = read_payload("embeddings", _embeddings(*items), ()).embeddings

    assert useless is None
    assert np.array_equal(good if good is not None else [], [3, 4])


def test_a_number_that_json_does_not_know_makes_no_vector() -> None:
    body = json.dumps({"data": [{"embedding": [float("nan"), 1.0]}]}).encode()

    assert read_payload("embeddings", parse_body(body), ()).embeddings == (None,)
