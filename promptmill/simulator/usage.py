"""Counts the tokens of a request and its answer, and reports them as each endpoint does.

The default is an estimate of 4 characters a token, because it costs nothing and needs no files; `tiktoken` counts as
o200k_base does. The overhead of 3 tokens a message and 3 for the reply is the OpenAI cookbook's
(How_to_count_tokens_with_tiktoken, read 2026-11-24).
"""

from dataclasses import dataclass
from functools import cache
from typing import Protocol

from promptmill.simulator.options import TokenizerName
from promptmill.simulator.wire import JsonObject

_CHARACTERS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 3
TOKENS_PER_REPLY = 3
TOKENS_PER_IMAGE = 85  # a low-detail image of the gpt-4o family
_ENCODING = "o200k_base"


class Tokenizer(Protocol):
    """Counts tokens and cuts texts at them."""

    def count(self, text: str) -> int:
        """Tokens of a text."""
        ...

    def cut(self, text: str, tokens: int) -> str:
        """At most so many tokens of the text's beginning."""
        ...


class _EstimatingTokenizer:
    """Four characters a token, rounded up."""

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return -(-len(text) // _CHARACTERS_PER_TOKEN)

    def cut(self, text: str, tokens: int) -> str:
        """At most so many tokens of the text's beginning."""
        return text[: tokens * _CHARACTERS_PER_TOKEN]


class _ExactTokenizer:
    """tiktoken; its encoding comes from TIKTOKEN_CACHE_DIR or the network. Raises: ValueError if from neither."""

    def __init__(self) -> None:
        import tiktoken

        try:
            self._encoding = tiktoken.get_encoding(_ENCODING)
        except OSError as error:
            remedy = "Set TIKTOKEN_CACHE_DIR to a folder that has it, or use the tokenizer 'estimate'."
            raise ValueError(f"tiktoken could not load {_ENCODING}: {error}. {remedy}") from error

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._encoding.encode_ordinary(text))

    def cut(self, text: str, tokens: int) -> str:
        """At most so many tokens of the text's beginning."""
        return self._encoding.decode(self._encoding.encode_ordinary(text)[:tokens])


@cache
def load_tokenizer(name: TokenizerName) -> Tokenizer:
    """The tokenizer of that name, made once a process. Raises: ValueError if its encoding can't be had."""
    return _ExactTokenizer() if name == "tiktoken" else _EstimatingTokenizer()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answered request."""

    input_tokens: int  # includes the cached ones
    cached_input_tokens: int = 0
    output_tokens: int = 0  # includes the reasoning ones
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens

    def as_chat(self) -> JsonObject:
        """The `usage` of a chat completion."""
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_input_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def as_response(self) -> JsonObject:
        """The `usage` of a response, and of a batch."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_input_tokens},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.total_tokens,
        }

    def as_embeddings(self) -> JsonObject:
        """The `usage` of embeddings, which have no output tokens."""
        return {"prompt_tokens": self.input_tokens, "total_tokens": self.input_tokens}
