"""Turns a body into an answer, for requests and batch lines alike. Pure except for the response's `created`."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from promptmill.simulator.answers.calls import TextCall, read_chat, read_response
from promptmill.simulator.answers.embeddings import EmbeddingCall, embed, read_embeddings
from promptmill.simulator.answers.payloads import chat_payload, embeddings_payload, response_payload
from promptmill.simulator.answers.reply import find_poison, poison_error, reply_to
from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.usage import Tokenizer, Usage
from promptmill.simulator.wire import JsonObject

Endpoint = Literal["/v1/chat/completions", "/v1/responses", "/v1/embeddings"]
ENDPOINTS: tuple[Endpoint, ...] = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings")
Call: TypeAlias = TextCall | EmbeddingCall


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with status 200 and its bill."""

    payload: JsonObject
    usage: Usage
    tier: str  # that the answer names


def read_call(endpoint: Endpoint, body: JsonObject, options: SimulatorOptions, tokenizer: Tokenizer) -> Call:
    """The call in a body. Raises: ApiError 400 or 404."""
    if endpoint == "/v1/embeddings":
        return read_embeddings(body, options, tokenizer)
    if endpoint == "/v1/responses":
        return read_response(body, options, tokenizer)
    return read_chat(body, options, tokenizer)


def is_hanging(call: Call) -> bool:
    """Whether the call's text asks for no answer at all."""
    return find_poison(call.text) == "HANG"


def answer(
    call: Call, digest: bytes, options: SimulatorOptions, tokenizer: Tokenizer, cached_tokens: int = 0
) -> Answer:
    """The answer to a call with `cached` input tokens. Raises: ApiError for a poisoned call."""
    error = poison_error(find_poison(call.text), options)
    if error is not None:
        raise error
    if isinstance(call, EmbeddingCall):
        usage = Usage(call.input_tokens)
        return Answer(
            embeddings_payload(call.model, embed(call, options.seed), usage.as_embeddings()), usage, "default"
        )
    reply = reply_to(call, digest, options, tokenizer)
    usage = replace(reply.usage, cached_input_tokens=max(cached_tokens, reply.usage.cached_input_tokens))
    reply = replace(reply, usage=usage)
    shape = chat_payload if call.endpoint == "/v1/chat/completions" else response_payload
    return Answer(shape(call, reply, digest), reply.usage, call.service_tier)
