"""Answers are parsed and converted by the column, and come out as if each had been parsed and converted by itself."""

import json
import random
from typing import Any

import pyarrow as pa
import pytest

from promptmill.output.arrow_types import JSON_TEXT, converter, parse_responses
from promptmill.output.parsed_answers import ParsedAnswers, parse_object

TYPES = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field("whole", pa.int64()),
        pa.field("number", pa.float64()),
        pa.field("flag", pa.bool_()),
        pa.field("free", pa.string(), metadata=JSON_TEXT),
        pa.field("tags", pa.list_(pa.field("element", pa.string()))),
        pa.field("sizes", pa.list_(pa.field("element", pa.int64()))),
        pa.field("deep", pa.struct([pa.field("a", pa.int64()), pa.field("b", pa.list_(pa.float64()))])),
    ]
)
FITTING: dict[str, list[Any]] = {
    "text": ["", "words", "ünïcode 🦉", "3"],
    "whole": [0, -1, 2**63 - 1, -(2**63)],
    "number": [0.1, -0.0, 1e308, 5e-324, 123456789.12345679],
    "flag": [True, False],
    "free": [{"z": 1, "a": None}, [1, "a"], "text", 3],
    "tags": [[], ["a"], ["a", None, "b"]],
    "sizes": [[], [1, 2**40], [None]],
    "deep": [{}, {"a": 1, "b": [0.5]}, {"b": None, "other": 3}],
}
ODD = [
    2**63,
    -(2**63) - 1,
    2**70,
    3.0,
    3.5,
    7,
    True,
    "12",
    [],
    [1, "a"],
    [2**64],
    {},
    {"a": 2**64},
    {"b": [1, True]},
    None,
]
UNREADABLE = [
    None,
    "",
    "no JSON",
    "[1]",
    "7",
    "null",
    '{"text": "\\ud800"}',
    '{"whole": 1e999}',
    '{"text": "a"} {"text": "b"}',
]
WRAPPED = [
    '```json\n{"text": "fenced"}\n```',
    '<think>so</think>{"text": "thought of"}',
    '{"text": "last", "text": "first"}',
]


def answer(chance: random.Random, odd: float) -> str | None:
    if chance.random() < odd / 4:
        return chance.choice([*UNREADABLE, *WRAPPED])
    value = {
        name: chance.choice(ODD if chance.random() < odd else [*values, None])
        for name, values in FITTING.items()
        if chance.random() > odd / 4
    }
    return json.dumps(value, ensure_ascii=chance.random() < 0.5)


def one_by_one(texts: list[str | None]) -> pa.Table:
    """What was published before columns were made by the block."""
    answers = [parse_object(text) for text in texts]
    made = ([converter(field)(answer.get(field.name)) for answer in answers] for field in TYPES)
    return pa.table([pa.array(values, field.type) for values, field in zip(made, TYPES, strict=True)], schema=TYPES)


@pytest.mark.parametrize("odd", [0.0, 0.02, 0.5])
def test_columns_by_the_block_are_those_of_each_answer_by_itself(odd: float) -> None:
    for seed in range(60):
        chance = random.Random(seed)
        texts = [answer(chance, odd) for _ in range(chance.choice([0, 1, 5, 40]))]

        found = parse_responses(texts, TYPES)
        expected = one_by_one(texts)
        assert found.equals(expected, check_metadata=True)
        assert repr(found["number"].to_pylist()) == repr(expected["number"].to_pylist())  # -0.0 too
        assert found.nbytes == expected.nbytes  # by which rows are gathered into row groups


def test_each_answer_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import promptmill.output.parsed_answers as module

    parsed: list[str] = []
    loads = module.orjson.loads

    def counted(text: str) -> Any:
        parsed.append(text)
        return loads(text)

    monkeypatch.setattr(module.orjson, "loads", counted)
    answers = ParsedAnswers(['{"text": "a", "whole": 1}', '{"text": "b"}'])

    assert parse_responses(answers, TYPES)["text"].to_pylist() == answers.values("text") == ["a", "b"]
    assert answers.values("whole") == [1, None]
    assert len(parsed) == 2
