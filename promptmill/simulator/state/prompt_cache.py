"""Caches the beginnings of prompts, as OpenAI's guide to prompt caching describes (read 2026-11-27).

It keeps prefixes of 1,024 tokens and more, in steps of 128 tokens, for some minutes after their last use. A prefix counts
from the admission of its request. A real provider can't do that so early, because it computes requests of the same moment
side by side.
"""

from hashlib import blake2b
from typing import Protocol

from promptmill.simulator.usage import Tokenizer

_LEAST_TOKENS = 1_024
_STEP_TOKENS = 128


class Prompt(Protocol):
    """The counted part of a call: the simulator counts no tokens for a schema."""

    @property
    def model(self) -> str:
        """The model, since each model has its own prefixes."""
        ...

    @property
    def text(self) -> str:
        """All texts, in order."""
        ...


class PromptCache:
    """The prefixes of all models."""

    def __init__(self) -> None:
        self._used: dict[bytes, float] = {}  # digest of a prefix -> when it was last asked

    def cached_tokens(self, call: Prompt, tokenizer: Tokenizer, now: float, seconds: float) -> int:
        """The number of a call's cached input tokens; caches the call's own prefixes too."""
        found = 0
        for tokens, digest in _prefixes(call, tokenizer):
            if now - self._used.get(digest, now - seconds - 1) <= seconds:
                found = tokens
            self._used[digest] = now
        return found

    def clear(self) -> None:
        """Forget all."""
        self._used.clear()


def _prefixes(call: Prompt, tokenizer: Tokenizer) -> list[tuple[int, bytes]]:
    """The prefixes that can be cached, shortest first: their tokens and digests."""
    most = tokenizer.count(call.text)
    digest = blake2b(f"{call.model}\n".encode(), digest_size=16)
    found: list[tuple[int, bytes]] = []
    done = 0
    for tokens in range(_LEAST_TOKENS, most + 1, _STEP_TOKENS):
        end = len(tokenizer.cut(call.text, tokens))
        digest.update(call.text[done:end].encode("utf-8", "surrogatepass"))
        done = end
        found.append((tokens, digest.digest()))
    return found
