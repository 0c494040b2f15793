"""A prompt that the provider cut in silence is no prompt that was answered."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.prompts.input_limit import limit_of
from promptmill.prompts.tokens import TokenCounter
from promptmill.provider.attempt import VectorHabits
from promptmill.provider.response_body import Answer
from promptmill.provider.usage import usage_of
from promptmill.records import Request
from promptmill.runs.judging import judge_input, judge_only_vector, judge_text

EXACT, ASSUMED = TokenCounter(len, "exact", True), TokenCounter(len, "assumed", False)


def answer(**usage: Any) -> Answer:
    return Answer("yes", None, "stop", usage_of({"completion_tokens": 1, **usage}), "m", "id", None)


@pytest.mark.parametrize(
    ("usage", "tokens", "is_cut"),
    [
        pytest.param({"prompt_tokens": 2_048}, 4_200, True, id="half-a-window-of-Ollama"),
        pytest.param({"prompt_tokens": 4_096}, 30_000, True, id="a-window"),
        pytest.param({"prompt_tokens": "2048"}, 4_200, True, id="told-as-text"),
        pytest.param({"input_tokens": 2_048}, 4_200, True, id="in-the-names-of-responses"),
        pytest.param({"prompt_tokens": 4_200}, 4_200, False, id="all"),
        pytest.param({"prompt_tokens": 5_600}, 4_200, False, id="a-tokenizer-of-smaller-tokens"),
        pytest.param({"prompt_tokens": 3_000}, 4_200, False, id="a-tokenizer-of-larger-tokens"),
        pytest.param({"prompt_tokens": 10}, 100, False, id="a-short-prompt"),
        pytest.param({"prompt_tokens": 0}, 4_200, False, id="not-counted"),
        pytest.param({"prompt_tokens": 10}, 78_000, False, id="the-same-for-every-prompt"),
        pytest.param({"prompt_tokens": None}, 4_200, False, id="null"),
        pytest.param({}, 4_200, False, id="untold"),
        pytest.param(
            {"prompt_tokens": 20, "prompt_tokens_details": {"cached_tokens": 4_180}}, 4_200, False, id="cached-beside"
        ),
        pytest.param(
            {"input_tokens": 20, "cache_read_input_tokens": 4_180}, 4_200, False, id="cached-beside-as-Anthropic"
        ),
        pytest.param({"input_tokens": 20, "cache_creation_input_tokens": 4_180}, 4_200, False, id="stored-beside"),
        pytest.param(
            {"prompt_tokens": 2_048, "prompt_tokens_details": {"cached_tokens": 2_000}}, 4_200, True, id="cached"
        ),
    ],
)
def test_prompt_that_was_cut_is_told_from_one_that_is_counted_otherwise(
    usage: dict[str, Any], tokens: int, is_cut: bool
) -> None:
    complaint = judge_input(answer(**usage), tokens)

    assert (complaint is not None) is is_cut
    if complaint is not None:
        assert complaint.kind == "truncated_input"
        assert "4,200" in complaint.message or "30,000" in complaint.message
        assert not complaint.is_worth_another


@pytest.mark.parametrize("text", ["", " \n", None])
def test_an_empty_text_is_an_answer_only_if_the_job_says_so(text: str | None) -> None:
    empty = replace(answer(), text=text)
    complaint = judge_text(empty, lambda _: "invalid")

    assert complaint is not None and complaint.kind == "empty_response"
    assert judge_text(empty, lambda _: "invalid", allow_empty=True) is None
    assert judge_text(replace(answer(), text="x"), lambda _: "invalid", allow_empty=True) is not None


@pytest.mark.parametrize(
    ("lengths", "dimensions", "expected"),
    [
        pytest.param([3, 3, 3], None, [True, True, True], id="alike"),
        pytest.param([3, 2, 3], None, [True, False, True], id="one-shorter"),
        pytest.param([None, 3, 2], None, [False, True, False], id="none-first"),
        pytest.param([2, 3], 3, [False, True], id="as-long-as-the-job-says"),
    ],
)
def test_vectors_of_one_batch_have_one_length(
    lengths: list[int | None], dimensions: int | None, expected: list[bool]
) -> None:
    habits = VectorHabits(dimensions=dimensions)
    vectors = [None if length is None else np.ones(length, np.float32) for length in lengths]
    judged = [judge_only_vector(replace(answer(), embeddings=(vector,)), habits) for vector in vectors]

    assert [complaint is None for complaint in judged] == expected


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_prompt_of_which_three_fifths_were_read_is_never_taken_for_cut(told: int, tokens: int) -> None:
    complaint = judge_input(answer(prompt_tokens=told), tokens)

    assert complaint is None or 0 < told < 0.6 * tokens


@pytest.mark.parametrize(
    ("own", "window", "counter", "tokens", "is_refused"),
    [
        pytest.param(100, None, EXACT, 101, True, id="own"),
        pytest.param(100, None, EXACT, 100, False, id="own-reached"),
        pytest.param(None, 100, EXACT, 101, True, id="window"),
        pytest.param(None, 100, ASSUMED, 101, False, id="window-in-doubt"),
        pytest.param(None, 100, ASSUMED, 151, True, id="window-beyond-doubt"),
        pytest.param(None, None, EXACT, 10**9, False, id="nothing-known"),
    ],
)
def test_row_that_is_known_to_be_too_long_is_never_sent(
    own: int | None, window: int | None, counter: TokenCounter, tokens: int, is_refused: bool
) -> None:
    complaint = limit_of(own, window, counter).complaint(Request("id", b"", tokens, None, tokens))

    assert (complaint is not None) is is_refused
    assert complaint is None or (f"{tokens:,}" in complaint and "Nothing was sent" in complaint)
