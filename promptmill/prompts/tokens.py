"""Tokens of a text: counted with the model's own tokenizer if that is known and available, else estimated by a rule.

The table of models is our own, because tiktoken's doesn't know gpt-6 and takes `ft:gpt-4.1` for gpt-4 (0.14.0). For the
tokens of a message beyond its text we use the formula of OpenAI's cookbook (How_to_count_tokens_with_tiktoken, read
2026-11-24). It is exact for gpt-4o and models of its time, and close enough for later ones, because the rate limiter and
the budget settle with the provider's own count. OpenAI publishes no formula for a schema: we count its JSON, which is an
upper bound.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import orjson
import tiktoken

from promptmill.prompts.tokenizer_files import Encodings

_MESSAGE_TOKENS = 3  # around every message; cookbook
REPLY_TOKENS = 3  # each answer begins with <|start|>assistant<|message|>; cookbook
LOW_DETAIL_TOKENS = 85  # an image with `detail: low`, whatever its size, for gpt-4o; OpenAI's vision guide
MEDIA_TOKENS = 765  # an image of 1024 x 1024 at high detail for gpt-4o (85 + 4 tiles of 170); OpenAI's vision guide
_BYTES_PER_TOKEN = 4  # of English in UTF-8; OpenAI's help article on tokens
PIECE_CHARACTERS = 50_000  # tiktoken 0.14.0 panics on 10**6 blanks (o200k) and slows down on long words

_log = logging.getLogger("promptmill")


def media_tokens(part: Mapping[str, Any]) -> int:
    """What a content part without text (an image, a file, sound) is taken to have; a guess."""
    image = part.get("image_url")
    told = cast(Mapping[str, Any], image) if isinstance(image, Mapping) else part  # chat completions, responses
    return LOW_DETAIL_TOKENS if told.get("detail") == "low" else MEDIA_TOKENS


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts tokens for one model."""

    count: Callable[[str], int]  # tokens of a text; special tokens in it count as text
    label: str  # says to a person how the tokens are counted
    is_exact: bool  # the tokenizer is the model's own

    def message_tokens(self, role: str) -> int:
        """Tokens of a message without its content."""
        return _MESSAGE_TOKENS + self.count(role)

    def schema_tokens(self, schema: Mapping[str, Any]) -> int:
        """Tokens that a response schema adds to a request, at most."""
        return self.count(orjson.dumps(schema).decode())


_O200K = re.compile(r"(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5(\.\d+)?|gpt-oss|o1|o3|o4)(-|:|$)")
_CL100K = re.compile(r"(gpt-4|gpt-3\.5|gpt-35|text-embedding-3|text-embedding-ada)(-|$)")
_PUBLISHED = ((_O200K, "o200k_base"), (_CL100K, "cl100k_base"))  # gpt-oss has o200k's ranks; tiktoken 0.14.0
_ASSUMED = "o200k_base"  # for gpt-6 and every other model that isn't in the table: the newest published encoding


def encoding_of(model: str) -> tuple[str, bool]:
    """The encoding of a model, and whether it is known; a fine-tuned model has the encoding of its base model."""
    name = model.lower().removeprefix("openai/")
    if name.startswith("ft:"):
        name = name.split(":")[1]
    for pattern, encoding in _PUBLISHED:
        if pattern.match(name):
            return encoding, True
    return _ASSUMED, False


def make_counter(model: str, encodings: Encodings, *, allow_download: bool = True) -> TokenCounter:
    """The counter of a model, with one of these encodings; an estimate when its file can't be found."""
    name, is_known = encoding_of(model)
    encoding = encodings.get(name, allow_download=allow_download)
    if encoding is None:
        _log.warning(
            "tokens of %s are estimated at %d bytes each: tiktoken's file for %s isn't cached and can't be downloaded. "
            "Install bpe-openai (promptmill[tokens]), or fill TIKTOKEN_CACHE_DIR, for exact counts without a network.",
            model,
            _BYTES_PER_TOKEN,
            name,
        )
        return TokenCounter(estimate_tokens, f"estimate: about {_BYTES_PER_TOKEN} characters a token", False)
    label = f"tiktoken {name}" if is_known else f"tiktoken {name}, assumed for {model}"
    return TokenCounter(_counting(encoding), label, is_known)


_PROCESS = Encodings()


@lru_cache(maxsize=64)
def counter_for(model: str, *, allow_download: bool = True) -> TokenCounter:
    """The counter of a model, made once in a process. It never raises and never hangs: offline it estimates."""
    return make_counter(model, _PROCESS, allow_download=allow_download)


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has, without a tokenizer; too many for English, about right for Chinese."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def _counting(encoding: tiktoken.Encoding) -> Callable[[str], int]:
    """A counter that cuts long texts into pieces; each cut can miscount by a token or two (of about 10,000)."""
    encode = encoding.encode_ordinary

    def count(text: str) -> int:
        if len(text) <= PIECE_CHARACTERS:
            return len(encode(text))
        return sum(len(encode(text[i : i + PIECE_CHARACTERS])) for i in range(0, len(text), PIECE_CHARACTERS))

    return count
