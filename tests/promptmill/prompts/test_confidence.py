"""How sure a model was of its answer, and of each property in it."""

import json
from itertools import pairwise
from math import log
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.prompts.confidence import confidence_of
from promptmill.provider.logprobs import tokens_in
from promptmill.provider.response_body import read_payload


def tokens(*pairs: tuple[str, float]) -> list[tuple[bytes, float]]:
    return [(text.encode(), log(chance)) for text, chance in pairs]


def found(text: str, *pairs: tuple[str, float]) -> dict[str, float]:
    told = confidence_of(text, tokens(*pairs))
    assert told is not None
    return orjson.loads(told)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([("pos", 0.5)], {"": 0.5}, id="a-word"),
        pytest.param(
            [('{"label":"', 1.0), ("po", 0.5), ("s", 0.9), ('"}', 1.0)], {"": 0.85, "label": 0.7}, id="a-text"
        ),
        pytest.param([('{"label": "po', 0.5), ('s"}', 0.9)], {"": 0.7, "label": 0.7}, id="tokens-across-the-quotes"),
        pytest.param([('{"a":', 1.0), ("true", 0.4), (',"b":3}', 0.6)], {"": 0.666667, "a": 0.4, "b": 0.6}, id="scalars"),
        pytest.param([('{"é":"', 1.0), ("ü", 0.25), ('"}', 1.0)], {"": 0.75, "é": 0.25}, id="umlauts"),
        pytest.param([('{"a":"', 1.0), ('"}', 0.5)], {"": 0.75, "a": 0.75}, id="an-empty-text"),
        pytest.param([('{"a":{"b":"x"},"c":[1],"d":null}', 0.5)], {"": 0.5}, id="nothing-scalar"),
        pytest.param(
            [("```json\n", 1.0), ('{"a":"', 1.0), ("x", 0.5), ('"}', 1.0), ("\n```", 1.0)], {"": 0.9, "a": 0.5}, id="fenced"
        ),
    ],
)  # fmt: skip
def test_mean_probability_is_that_of_the_values_tokens(
    pairs: list[tuple[str, float]], expected: dict[str, float]
) -> None:
    assert found("".join(text for text, _ in pairs), *pairs) == expected


@pytest.mark.parametrize(
    ("text", "pairs", "expected"),
    [
        pytest.param('{"a":"x"}', [("hm, ", 0.1), ('{"a":"x"}', 0.9)], {"": 0.9, "a": 0.9}, id="thinking-before"),
        pytest.param('{"a":"x"}', [('{"a":"secret"}', 0.9)], {"": 0.9}, id="another-text"),
        pytest.param("", [("x", 0.9)], {"": 0.9}, id="no-text"),
        pytest.param('{"a":', [('{"a":', 0.9)], {"": 0.9}, id="cut"),
    ],
)
def test_tokens_of_another_text_say_nothing_of_properties(
    text: str, pairs: list[tuple[str, float]], expected: dict[str, float]
) -> None:
    assert found(text, *pairs) == expected


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.booleans() | st.integers() | st.none(), max_size=4),
    st.lists(st.integers(0, 200), max_size=20),
    st.booleans(),
)
def test_any_cut_into_tokens_gives_probabilities(values: dict[str, Any], cuts: list[int], is_ascii: bool) -> None:
    text = json.dumps(values, ensure_ascii=is_ascii)
    raw = text.encode("utf-8", "replace")
    places = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    told = confidence_of(text, [(raw[a:b], log(0.5)) for a, b in pairwise(places)])

    assert told is not None
    named = {name for name, value in values.items() if value is not None}
    assert orjson.loads(told).keys() - {""} == named - {""}
    assert set(orjson.loads(told).values()) == {0.5}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param({"content": [{"token": "a", "logprob": -1, "bytes": [97]}]}, [(b"a", -1.0)], id="OpenAI"),
        pytest.param({"content": [{"token": "a", "logprob": -1.5, "bytes": None}]}, [(b"a", -1.5)], id="without-bytes"),
        pytest.param(
            {"tokens": ["a", "b"], "token_logprobs": [-1.0, -2.0]}, [(b"a", -1.0), (b"b", -2.0)], id="two-lists"
        ),
        pytest.param([{"token": "a", "logprob": 0.0}], [(b"a", 0.0)], id="responses"),
        pytest.param(None, None, id="null"),
        pytest.param({"content": None}, None, id="null-inside"),
        pytest.param({"content": [{"token": "a", "logprob": None}]}, None, id="no-probability"),
        pytest.param({"content": [{"token": "a", "logprob": True}]}, None, id="a-boolean"),
        pytest.param({"content": [{"token": "a", "logprob": -1, "bytes": [999]}]}, None, id="no-byte"),
        pytest.param({"content": [{"token": 3, "logprob": -1}]}, None, id="no-text"),
        pytest.param("abc", None, id="a-text"),
    ],
)
def test_log_probabilities_are_read_in_every_form(told: object, expected: object) -> None:
    payload = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop", "logprobs": told}]}
    read = read_payload("chat.completions", payload, ()).logprobs

    assert tokens_in(told) == read == (None if expected is None else tuple(expected))  # pyright: ignore[reportArgumentType]
