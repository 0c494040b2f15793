"""What a provider says that an answer took, in every spelling; pure, and none of it raises.

Providers leave counts out, write null, text, decimals or nonsense, use the names of the other endpoint, and count hidden
reasoning inside the output tokens (OpenAI) or beside them (xAI, Gemini's compatible endpoint), where only `total_tokens`
shows it. What can't be right is read as absent: the answer is paid for, and its tokens are then counted here.
Sources: OpenAI API reference, read 2026-11-24; xAI and Gemini usage objects as issues quote them
(BerriAI/litellm#17541, googleapis/python-genai#782), read 2026-11-27.
"""

from collections.abc import Mapping

from promptmill.provider.json_fields import mapping_of
from promptmill.record import record

_MOST_TOKENS = (
    100_000_000  # of one answer; the longest context sold is 10 million tokens (2026-11), so more is a mistake
)
_MOST_DIGITS = 9
_INPUT_NAMES = ("prompt_tokens", "input_tokens")
_OUTPUT_NAMES = ("completion_tokens", "output_tokens")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")  # Anthropic's, passed on by gateways
_NONE: Mapping[str, object] = {}


@record
class ToldUsage:
    """The tokens that a provider told; None where it told none that can be right."""

    input_tokens: int | None = None
    output_tokens: int | None = None  # includes hidden reasoning, wherever the provider counts it
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0  # input tokens that the provider stored, and charges more for
    reasoning_tokens: int | None = None  # of the output tokens
    beside_tokens: int = 0  # cached or stored ones that can't be part of `input_tokens`, so that these aren't all

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be counted here."""
        return self.input_tokens is not None and self.output_tokens is not None


def usage_of(value: object, *, has_output: bool = True) -> ToldUsage:
    """The usage object of an answer; with `has_output` False, as for embeddings, no output tokens are 0.

    Cached and stored tokens never add up to more than the input, nor reasoning to more than the output.
    """
    fields = mapping_of(value)
    told, output = _first(fields, _INPUT_NAMES), 0
    total, reasoning = _tokens_of(fields.get("total_tokens")), None
    if has_output:
        output, reasoning = _output_of(fields, told, total)
    if told is None and total is not None and output is not None and total > output:
        told = total - output
    details = _details(fields, _INPUT_DETAILS)
    most = _MOST_TOKENS if told is None else told
    all_cached = _tokens_of(details.get("cached_tokens")) or 0
    all_written = _tokens_of(details.get("cache_write_tokens")) or 0
    cached = min(all_cached, most)
    written = min(all_written, most - cached)
    beside = (
        all_cached - cached + all_written - written + sum([_tokens_of(fields.get(name)) or 0 for name in _BESIDE_INPUT])
    )
    return ToldUsage(told, output, cached, written, reasoning, beside)


def _output_of(fields: Mapping[str, object], told: int | None, total: int | None) -> tuple[int | None, int | None]:
    """Output and reasoning tokens; reasoning that was counted beside the output is added to it."""
    output = _first(fields, _OUTPUT_NAMES)
    reasoning = _tokens_of(_details(fields, _OUTPUT_DETAILS).get("reasoning_tokens"))
    if reasoning is None:
        reasoning = _tokens_of(fields.get("reasoning_tokens"))
    if output is None:
        if told is None or total is None or total <= told:
            return None, reasoning
        output = total - told
        return output, None if reasoning is None else min(reasoning, output)
    beside = 0 if told is None or total is None else total - told - output
    if beside > 0 and (not reasoning or reasoning == beside):
        output, reasoning = output + beside, beside
    elif reasoning is not None and reasoning > output:
        output += reasoning
    return output, reasoning


def _first(fields: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    """The count under the first of the names that holds one."""
    for name in names:
        if (count := _tokens_of(fields.get(name))) is not None:
            return count
    return None


def _details(fields: Mapping[str, object], names: tuple[str, ...]) -> Mapping[str, object]:
    for name in names:
        if details := mapping_of(fields.get(name)):
            return details
    return _NONE


def _tokens_of(value: object) -> int | None:
    """A number of tokens, also as text; None when it isn't a whole number from 0 to _MOST_TOKENS."""
    if value is None:
        return None
    if type(value) is int:  # as most are; a bool is none
        return value if 0 <= value <= _MOST_TOKENS else None
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _MOST_TOKENS or value != int(value):
        return None
    return int(value)
