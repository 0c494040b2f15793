"""An answer is found in what a model wraps around it, and nowhere else."""

import json
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.output.arrow_types import parse_responses
from promptmill.prompts.response_schema import ResponseSchema
from promptmill.prompts.unwrapping import read_answer

SCHEMA = ResponseSchema({"type": "object", "properties": {"label": {"type": "string"}}})
POS = '{"label":"pos"}'
LABELS = st.text(st.sampled_from('ab {}[]"\\`~\n<>/é'), max_size=12) | st.sampled_from(
    ["```x```", "```", "</think>", "<think>", '```json\n{"label":"neg"}\n```', "</think>{}", "~~~"]
)
WRAPPINGS = st.sampled_from(
    [
        "{}",
        "```json\n{}\n```",
        "```\n{}\n```\n",
        "  ```JSON {} ```",
        "````json\n{}\n````",
        "~~~\n{}\n~~~",
        "\ufeff{}",
        "<think>\nhm, one [or] two?\n</think>\n\n{}",
        "hm, the opening tag got lost</think>\n{}",
        "<think>I close it by </think> later</think>{}",
        "<thinking>hm</thinking>```json\n{}\n```",
        "[THINK]hm[/THINK]{}",
        "{}\n\nI hope that this helps! [1]",
        "{}<|im_end|>",
        "```json\n{}\n```\nI hope that this helps!",
    ]
)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        pytest.param(POS, "pos", id="plain"),
        pytest.param(f"```json\n{POS}\n```", "pos", id="one-fence"),
        pytest.param(f"```json\n{POS}", "pos", id="fence-cut-by-a-stop-sequence"),
        pytest.param(f"{POS}\n```", "pos", id="fence-opened-by-the-prompt"),
        pytest.param('{"label":"```x```"}', "```x```", id="fence-inside-a-value"),
        pytest.param('```\n{"label":"```json\\n{}\\n```"}\n```', "```json\n{}\n```", id="fence-inside-a-fenced-value"),
        pytest.param(f'<think>{{"label":"neg"}}?</think>{POS}', "pos", id="thought-with-a-draft"),
        pytest.param(f'{{"label":"neg"}}, or not?</think>{POS}', "pos", id="thought-without-its-opening-tag"),
        pytest.param(f"<think>I close it by </think> later</think>{POS}", "pos", id="thought-that-quotes-its-tag"),
        pytest.param('{"label":"use </think>"} Done.', "use </think>", id="tag-inside-a-value"),
        pytest.param(
            f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>{POS}",
            "pos",
            id="channels-of-gpt-oss",
        ),
        pytest.param(
            '[{"id":"c","type":"function","function":{"name":"response","arguments":"{\\"label\\":\\"pos\\"}"}}]',
            "pos",
            id="call-of-a-tool",
        ),
        pytest.param(
            '[{"function":{"name":"response","arguments":{"label":"pos"}}}]', "pos", id="call-of-a-tool-of-Ollama"
        ),
        pytest.param(
            '[{"type":"function_call","name":"response","arguments":"{\\"label\\":\\"pos\\"}"}]',
            "pos",
            id="call-of-a-tool-by-responses",
        ),
    ],
)
def test_wrapped_answer_is_accepted_and_published(text: str, label: str) -> None:
    assert SCHEMA.validate(text) is None
    assert parse_responses([text], pa.schema({"label": pa.string()}))["label"].to_pylist() == [label]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"I can't say. It could look like this:\n```json\n{POS}\n```\nbut I won't.", id="explanation"),
        pytest.param(f"Here you are: {POS}", id="prose-before"),
        pytest.param(f"{POS}\n{POS}", id="two-answers"),
        pytest.param(f"```json\n{POS}\n```\nor\n```json\n{POS}\n```", id="two-fences"),
        pytest.param(f"{POS} or {{}}", id="a-second-object"),
        pytest.param('```json\n{"label":"po\n```', id="cut-inside-a-fence"),
        pytest.param('<think>hm {"label":"pos"}', id="thought-without-an-end"),
        pytest.param("<think>hm</think>", id="thought-alone"),
        pytest.param('{"label":"neg"} comes to mind</think>', id="thought-without-its-opening-tag-alone"),
        pytest.param('<think>hm</think>I would say {"label":"pos"}', id="prose-after-a-thought"),
        pytest.param('```\n["pos"]\n```', id="list"),
        pytest.param("pos", id="a-word"),
        pytest.param("", id="nothing"),
        pytest.param('{"label":' * 5_000, id="deep"),
        pytest.param('{"label":' + "1" * 5_000 + "} x", id="a-number-beyond-reason"),
        pytest.param(f'[{{"function":{{"arguments":"{{"}}}}, {POS}]', id="two-calls"),
        pytest.param('[{"function":{"name":"x","arguments":"no JSON"}}]', id="call-without-JSON"),
    ],
)
def test_anything_else_is_no_answer(text: str) -> None:
    assert SCHEMA.validate(text) is not None
    assert parse_responses([text], pa.schema({"label": pa.string()}))["label"].to_pylist() == [None]


@given(LABELS, WRAPPINGS, st.booleans())
def test_no_wrapping_changes_a_value(label: str, wrapping: str, is_indented: bool) -> None:
    answer = json.dumps({"label": label}, indent=2 if is_indented else None, ensure_ascii=False)

    assert read_answer(wrapping.replace("{}", answer)) == {"label": label}


@given(st.text(st.sampled_from('{}[]":,a1`~\n<>/think '), max_size=60))
def test_reading_raises_nothing_but_that_it_is_no_json(text: str) -> None:
    try:
        value: Any = read_answer(text)
    except orjson.JSONDecodeError:
        return
    assert isinstance(value, dict) or value == orjson.loads(text)
