"""Chooses the model's reply: a pure function of the call, its digest and the options.

Marks in the prompt steer the reply, so that a test can write the case into its data. The model repeats a line `ANSWER: …`
as its whole answer, and each `POISON-…` word causes one kind of failure, every time.
Unlike a fault (faults.py), a poisoned row fails at every retry.
"""

import re
from dataclasses import dataclass
from random import Random
from typing import Literal

from promptmill.simulator.answers.calls import TextCall
from promptmill.simulator.answers.samples import sample_document, sentence
from promptmill.simulator.errors import ApiError, context_too_long, invalid, prompt_filtered, server_failed
from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.usage import Tokenizer, Usage
from promptmill.simulator.wire import encode

FinishReason = Literal["stop", "length", "content_filter"]
_REFUSAL = "I'm sorry, but I can't assist with that request."
_DEFAULT_CONTEXT = 128_000  # POISON-LONG names it if no context window is set
_ANSWER = re.compile(r"^ANSWER:[ \t]*(.*)$", re.MULTILINE)
_POISON = re.compile(r"POISON-(400|LONG|BLOCKED|FILTER|REFUSAL|TRUNCATE|SCHEMA|500|HANG)")


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice's text and its usage."""

    text: str
    finish_reason: FinishReason
    refusal: str | None  # the refusal, instead of the text
    usage: Usage  # tokens of the whole answer, with all choices


def find_poison(text: str) -> str | None:
    """The first POISON word of a text, without its prefix."""
    if "POISON-" not in text:
        return None
    match = _POISON.search(text)
    return match.group(1) if match else None


def poison_error(poison: str | None, options: SimulatorOptions) -> ApiError | None:
    """The error that a poisoned request always gets, if its poison means an error."""
    if poison == "400":
        return invalid("Invalid request: the content of this request is not accepted.", param="messages")
    if poison == "LONG":
        limit = options.context_window or _DEFAULT_CONTEXT
        return context_too_long(limit, limit + 1)
    if poison == "BLOCKED":
        return prompt_filtered()
    return server_failed() if poison == "500" else None


def reply_to(call: TextCall, digest: bytes, options: SimulatorOptions, tokenizer: Tokenizer) -> Reply:
    """The reply to a call that is neither poisoned nor refused."""
    poison = find_poison(call.text)
    if poison == "REFUSAL":
        return Reply("", "stop", _REFUSAL, _usage(call, options, tokenizer.count(_REFUSAL)))
    if poison == "FILTER":
        return Reply("", "content_filter", None, _usage(call, options, 0))
    text = _violation(call) if poison == "SCHEMA" else _text(call, digest, options)
    tokens = tokenizer.count(text)
    room = _room(call, options, tokens, truncated=poison == "TRUNCATE")
    if room is None or tokens <= room:
        return Reply(text, "stop", None, _usage(call, options, tokens))
    text = tokenizer.cut(text, room)
    return Reply(text, "length", None, _usage(call, options, room))


def _room(call: TextCall, options: SimulatorOptions, tokens: int, *, truncated: bool) -> int | None:
    """Tokens that the text may have; reasoning comes out of the same allowance."""
    if truncated:
        return tokens // 2
    if call.max_output_tokens is None:
        return None
    return max(0, call.max_output_tokens - options.reasoning_tokens)


def _usage(call: TextCall, options: SimulatorOptions, tokens: int) -> Usage:
    reasoning = options.reasoning_tokens
    if call.max_output_tokens is not None:
        reasoning = min(reasoning, call.max_output_tokens)
    return Usage(
        input_tokens=call.input_tokens,
        cached_input_tokens=int(call.input_tokens * options.cached_ratio),
        output_tokens=call.choices * (tokens + reasoning),
        reasoning_tokens=call.choices * reasoning,
    )


def _text(call: TextCall, digest: bytes, options: SimulatorOptions) -> str:
    if "ANSWER:" in call.text and (given := _ANSWER.findall(call.text)):
        return str(given[-1]).rstrip()
    if call.format.schema is not None:
        random = Random(digest + options.seed.to_bytes(8, signed=True))
        return encode(sample_document(call.format.schema, random)).decode()
    if options.reply is not None:
        return _fill(options.reply, call, digest)
    said = sentence(_shift(digest, options.seed))
    return encode({"answer": said}).decode() if call.format.kind == "json_object" else said


def _shift(digest: bytes, seed: int) -> bytes:
    return bytes((byte + seed) % 256 for byte in digest[:7])


def _fill(template: str, call: TextCall, digest: bytes) -> str:
    values = {"{digest}": digest.hex(), "{model}": call.model, "{prompt}": call.last_text}
    return re.sub(r"\{(?:digest|model|prompt)\}", lambda match: values[match.group()], template)


def _violation(call: TextCall) -> str:
    return '{"not_in_the_schema":true}' if call.format.schema is not None else "This is not JSON."
