"""Tokens are counted exactly where the tokenizer is known, and estimated with a label where it isn't; never a hang."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.job.spec import RequestSpec
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.tokenizer_files import EncodingFile, Encodings
from promptmill.prompts.tokens import PIECE_CHARACTERS, TokenCounter, encoding_of, estimate_tokens, make_counter
from tests.support.examples import examples

Source = Callable[[EncodingFile], bytes | None]


def nothing(file: EncodingFile) -> None:
    """A source that has no file."""


@pytest.fixture(scope="module")
def encodings(tmp_path_factory: pytest.TempPathFactory) -> Encodings:
    """Encodings as bpe-openai brings them, with no network."""
    return Encodings({"TIKTOKEN_CACHE_DIR": str(tmp_path_factory.mktemp("tiktoken"))}, downloaded=nothing)


@pytest.fixture(scope="module")
def counter(encodings: Encodings) -> TokenCounter:
    """The counter of gpt-4o."""
    return make_counter("gpt-4o", encodings)


@pytest.mark.parametrize(
    ("model", "encoding", "is_known"),
    [
        ("gpt-4o-mini", "o200k_base", True),
        ("gpt-4.1-nano-2025-04-14", "o200k_base", True),
        ("gpt-5", "o200k_base", True),
        ("gpt-5.6-luna", "o200k_base", True),
        ("o3", "o200k_base", True),
        ("o4-mini", "o200k_base", True),
        ("chatgpt-4o-latest", "o200k_base", True),
        ("gpt-oss-20b", "o200k_base", True),
        ("gpt-oss:20b", "o200k_base", True),
        ("openai/gpt-4o", "o200k_base", True),
        ("ft:gpt-4.1-mini-2025-04-14:acme::x1", "o200k_base", True),  # tiktoken 0.14.0 takes it for gpt-4
        ("gpt-4", "cl100k_base", True),
        ("gpt-4-turbo", "cl100k_base", True),
        ("gpt-3.5-turbo", "cl100k_base", True),
        ("ft:gpt-3.5-turbo-0125:acme::x2", "cl100k_base", True),
        ("text-embedding-3-small", "cl100k_base", True),
        ("text-embedding-ada-002", "cl100k_base", True),
        ("gpt-6-luna", "o200k_base", False),
        ("gpt-6.1-terra", "o200k_base", False),
        ("o1000-turbo", "o200k_base", False),
        ("llama3.1:8b", "o200k_base", False),
        ("my-deployment", "o200k_base", False),
    ],
)
def test_each_model_has_its_encoding(model: str, encoding: str, is_known: bool) -> None:
    assert (encoding, is_known) == encoding_of(model)


@pytest.mark.parametrize(
    ("model", "text", "tokens"),
    [
        ("gpt-4o", "Hello world!", 3),
        ("gpt-4o", "", 0),
        ("gpt-4o", "antidisestablishmentarianism", 6),
        ("gpt-4o", "お誕生日おめでとう", 8),
        ("gpt-4o", "2 + 2 = 4", 7),
        ("gpt-4o", "<|endoftext|>", 7),  # special tokens of a dataset are text
        ("gpt-4", "お誕生日おめでとう", 9),
        ("text-embedding-3-small", "antidisestablishmentarianism", 6),
    ],
)
def test_counts_are_those_of_the_cookbook(encodings: Encodings, model: str, text: str, tokens: int) -> None:
    """Counts that OpenAI's cookbook prints, and one that tiktoken itself would refuse."""
    found = make_counter(model, encodings)

    assert tokens == found.count(text)
    assert found.is_exact


def test_a_request_has_the_tokens_of_the_cookbooks_formula(counter: TokenCounter) -> None:
    spec = RequestSpec(model="gpt-4o", system="You are a helpful assistant.", user="{{ text }}")
    request = RequestBuilder(spec, ["text"], None, counter).build({"text": "Hello world!"}, 0)

    assert 20 == request.input_tokens


def test_a_schema_has_the_tokens_of_its_json(counter: TokenCounter) -> None:
    schema = {"type": "object", "properties": {"label": {"enum": ["good", "bad"]}}}

    assert counter.count(json.dumps(schema, separators=(",", ":"))) == counter.schema_tokens(schema)


def test_labels_say_how_tokens_are_counted(encodings: Encodings) -> None:
    known, assumed = make_counter("gpt-4o-mini", encodings), make_counter("gpt-6-luna", encodings)
    empty = Encodings({"TIKTOKEN_CACHE_DIR": ""}, nothing, nothing)
    estimated = make_counter("gpt-4o-mini", empty)

    assert ("tiktoken o200k_base", True) == (known.label, known.is_exact)
    assert ("tiktoken o200k_base, assumed for gpt-6-luna", False) == (assumed.label, assumed.is_exact)
    assert ("estimate: about 4 characters a token", False) == (estimated.label, estimated.is_exact)
    assert 3 == estimated.count("Hello world!")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(" " * 1_000_000, id="blanks"),  # tiktoken 0.14.0 panics when they come as one text
        pytest.param("a" * 1_000_000, id="one-word"),
        pytest.param("\t " * 500_000, id="tabs"),
        pytest.param("😀" * 200_000, id="emoji"),
        pytest.param("word " * 400_000, id="english"),
    ],
)
def test_long_texts_are_counted_in_linear_time(counter: TokenCounter, text: str) -> None:
    """A text of ten pieces takes about ten times as long as one."""
    seconds: list[float] = []
    for part in (text[:PIECE_CHARACTERS], text):
        started = time.perf_counter()
        counter.count(part)
        seconds.append(time.perf_counter() - started)

    assert seconds[1] < 10 * (len(text) / PIECE_CHARACTERS) * max(seconds[0], 0.002)


@settings(max_examples=examples(25), deadline=None)
@given(text=st.text(min_size=1, max_size=40), pieces=st.integers(1, 4))
def test_cutting_a_long_text_miscounts_by_a_few_tokens(counter: TokenCounter, text: str, pieces: int) -> None:
    """Sums of halves, which are never cut further, differ by a few tokens a cut."""
    long = (text * (PIECE_CHARACTERS // len(text) + 1))[:PIECE_CHARACTERS] * pieces
    half = PIECE_CHARACTERS // 2
    halves = sum(counter.count(long[i : i + half]) for i in range(0, len(long), half))

    assert abs(halves - counter.count(long)) <= 8 * pieces


@given(text=st.text(st.characters(codec=None)))
def test_any_text_can_be_counted(counter: TokenCounter, text: str) -> None:
    """Lone surrogates included."""
    assert counter.count(text) >= (1 if text else 0)
    assert estimate_tokens(text) >= len(text) / 4
