"""What the requests of a job begin with alike, which a provider that caches prompts bills at its cached price. Pure.

A provider caches a prompt from its start: tools and schema, then the messages in order. So what is the same for every row
has to come first, and rows that begin alike have to be sent soon after each other. OpenAI caches prompts of 1,024 tokens
or more, in steps of 128, and forgets a prefix after some minutes without use (prompt caching guide, read 2026-11-27).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import urlsplit

from promptmill.records import Request

_LEAST_CACHED_TOKENS = 1_024
_STEP_TOKENS = 128
_BYTES_PER_TOKEN = 4  # of English in UTF-8
_KEY_HOSTS = (".api.openai.com", ".api.mistral.ai")  # their references list prompt_cache_key, read 2026-11-27


@dataclass(slots=True)
class PromptShape:
    """How many tokens of a prompt are the same for every row, in the order in which the provider reads them."""

    first_tokens: int = 0  # before the first text that varies
    later_tokens: int = 0  # after it: never cached
    varying: str = ""  # the template where the first text that varies stands

    def constant(self, tokens: int) -> None:
        """Note a text that is the same for every row."""
        if self.varying:
            self.later_tokens += tokens
        else:
            self.first_tokens += tokens

    def varies(self, label: str) -> None:
        """Note a text that varies by row."""
        self.varying = self.varying or label

    @property
    def cacheable_tokens(self) -> int:
        """What a provider that caches as OpenAI does can bill at its cached price for all rows but the first."""
        return _cacheable(self.first_tokens)

    @property
    def note(self) -> str | None:
        """What a person should know before paying; None where caching is of no matter."""
        if _cacheable(self.first_tokens + self.later_tokens) - self.cacheable_tokens >= _STEP_TOKENS:
            return (
                f"{self.later_tokens:,} tokens of a request are the same for every row, but stand after a column "
                f"({self.varying}), so no provider can cache them. Put what is the same for every row first, best in "
                "request.system, and the columns last"
            )
        if self.cacheable_tokens:
            return (
                f"a request begins with {self.first_tokens:,} tokens that are the same for every row; a provider that "
                f"caches prompts as OpenAI does bills about {self.cacheable_tokens:,} of them at its cached price for all rows "
                "but the first"
            )
        return None


def by_prefix(requests: Sequence[Request], constant_bytes: int) -> list[Request]:
    """The requests, those that begin alike next to each other; in their own order where that saves nothing.

    `constant_bytes`: how far the bodies of all rows are equal.
    """
    least = max(_LEAST_CACHED_TOKENS * _BYTES_PER_TOKEN, constant_bytes + _STEP_TOKENS * _BYTES_PER_TOKEN)
    groups: dict[bytes, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.body[:least], []).append(request)
    return [request for group in groups.values() for request in _alike(group)]


def _alike(group: list[Request]) -> list[Request]:
    """Of rows that begin alike, those that go on alike next to each other."""
    return group if len(group) < 3 else sorted(group, key=lambda request: request.body)


def takes_cache_key(base_url: str) -> bool:
    """Whether a provider knows `prompt_cache_key`, which sends requests to the machine that has their prefix."""
    return f".{urlsplit(base_url).hostname}".endswith(_KEY_HOSTS)


def cache_key_of(constant: bytes) -> str:
    """The key of all requests whose bodies begin so."""
    return f"promptmill-{blake2b(constant, digest_size=8).hexdigest()}"


def _cacheable(tokens: int) -> int:
    return tokens // _STEP_TOKENS * _STEP_TOKENS if tokens >= _LEAST_CACHED_TOKENS else 0
