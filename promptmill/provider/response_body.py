"""An answer's body → the few of its fields that we keep. Pure.

The SDK's typed parsing costs as much as all the rest of a request and refuses nothing that we need to refuse, so the
fields are read here. A body without what makes an answer raises `Unreadable`; a field of another type than the API
documents costs that field only (json_fields.py), since the answer is paid for.
Shapes: OpenAI API reference (chat completions, responses, embeddings), read 2026-11-24.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptmill.job.spec import Endpoint
from promptmill.provider.body_parser import NoJson, parse_body
from promptmill.provider.filter_results import categories_of_choice, categories_of_response
from promptmill.provider.json_fields import list_of, mapping_of, name_of, text_of
from promptmill.provider.logprobs import Token, tokens_in
from promptmill.provider.message_content import Said, said_in
from promptmill.provider.redaction import redact
from promptmill.provider.usage import ToldUsage, usage_of
from promptmill.record import record

PATHS: dict[Endpoint, str] = {
    "chat.completions": "chat/completions",
    "responses": "responses",
    "embeddings": "embeddings",
}
MAX_INPUTS = 2_048  # of an embeddings request
MAX_INPUT_TOKENS = 300_000  # of all its inputs together
_NAME_CHARACTERS = 200  # of a model's name, an id, a finish reason: providers use fewer than 100
_REASON_CHARACTERS = 300
_CUT_BY = {"max_output_tokens": "length", "content_filter": "content_filter"}  # incomplete_details.reason


class Unreadable(ValueError):
    """A body that is no answer: not JSON, cut off, or without the fields that an answer has."""


@record
class Answer:
    """What was said, how it ended and what it took."""

    text: str | None  # None when nothing was said
    refusal: str | None
    finish_reason: str  # stop | length | content_filter | …
    usage: ToldUsage
    model: str
    response_id: str
    service_tier: str | None
    thinking: str | None = None  # what the model thought, where the provider shows it
    filtered_for: str = ""  # the categories of a filter that cut it, where the provider names them
    logprobs: tuple[Token, ...] | None = None  # of the answer's tokens, where the job asks for them
    embeddings: tuple[
        NDArray[np.float32] | None, ...
    ] = ()  # in the order of the inputs; None: no vector that can be used


def answer_of_text(text: str) -> Answer:
    """An answer of which nothing is known but its text."""
    return Answer(text, None, "stop", ToldUsage(), "", "", None)


def read_answer(endpoint: Endpoint, content: bytes, secrets: Sequence[str]) -> Answer:
    """The answer in the body of a 200, the secrets cut out. Raises: Unreadable, and nothing else whatever it holds."""
    try:
        payload = parse_body(content)
    except NoJson as error:
        raise Unreadable(f"the answer can't be read: {error}") from None
    return read_payload(endpoint, payload, secrets)


def read_payload(endpoint: Endpoint, payload: object, secrets: Sequence[str]) -> Answer:
    """The answer in a parsed body, the secrets cut out. Raises: Unreadable, and nothing else whatever it holds."""
    try:
        return _redacted(_READ[endpoint](payload), secrets)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        reason = redact(f"{type(error).__name__}: {error}", secrets)[:_REASON_CHARACTERS]
        raise Unreadable(f"the answer can't be read ({reason})") from None


def _redacted(answer: Answer, secrets: Sequence[str]) -> Answer:
    """The answer without the secrets that a provider may quote in any of its texts."""
    names = (
        f"{answer.finish_reason}\0{answer.filtered_for}\0{answer.model}\0{answer.response_id}\0{answer.service_tier}"
    )
    if len(names) <= _NAME_CHARACTERS:  # as in nearly all answers: a copy takes longer than the look
        said = f"{names}\0{answer.text}\0{answer.refusal}"
        for secret in secrets:
            if secret in said:
                break
        else:
            return answer
    return replace(
        answer,
        text=None if answer.text is None else redact(answer.text, secrets),
        refusal=None if answer.refusal is None else redact(answer.refusal, secrets),
        finish_reason=redact(answer.finish_reason, secrets)[:_NAME_CHARACTERS],
        filtered_for=redact(answer.filtered_for, secrets)[:_REASON_CHARACTERS],
        model=redact(answer.model, secrets)[:_NAME_CHARACTERS],
        response_id=redact(answer.response_id, secrets)[:_NAME_CHARACTERS],
        service_tier=None if answer.service_tier is None else redact(answer.service_tier, secrets),
    )


def _read_chat(payload: Any) -> Answer:
    choice = payload["choices"][0]
    message, finish = choice.get("message"), choice.get("finish_reason")
    said = said_in({"content": choice.get("text")} if message is None else mapping_of(message))
    if said.text is None and said.refusal is None and finish is None:
        raise ValueError("neither content nor finish_reason")
    answer = _answer(payload, usage_of(payload.get("usage")), said, finish_reason=finish)
    if finish == "content_filter":
        answer = replace(answer, filtered_for=categories_of_choice(choice))
    told = choice.get("logprobs")
    return replace(answer, logprobs=tokens_in(told)) if told else answer


def _read_response(payload: Any) -> Answer:
    if payload.get("status") == "failed":
        raise ValueError(f"status failed: {mapping_of(payload.get('error')).get('message')}")
    items = [mapping_of(item) for item in payload["output"]]
    parts = [part for item in items if item.get("type") == "message" for part in list_of(item.get("content"))]
    thoughts = [part for item in items if item.get("type") == "reasoning" for part in list_of(item.get("content"))]
    calls = [item for item in items if str(item.get("type")).endswith("_call")]
    texts = [text_of(mapping_of(part).get("text")) or "" for part in parts if _is(part, "output_text", "text")]
    refusals = [text_of(mapping_of(part).get("refusal")) for part in parts if _is(part, "refusal")]
    reason = name_of(mapping_of(payload.get("incomplete_details")).get("reason"))
    text = "".join(texts) if texts else None
    said = Said(
        text=text_of(calls) if calls and not text else text,
        refusal=next((refusal for refusal in refusals if refusal), None),
        thinking="".join(text_of(mapping_of(part).get("text")) or "" for part in thoughts) or None,
    )
    answer = _answer(payload, usage_of(payload.get("usage")), said, finish_reason=_CUT_BY.get(reason, reason))
    if reason == "content_filter":
        answer = replace(answer, filtered_for=categories_of_response(payload))
    told = [token for part in parts for token in list_of(mapping_of(part).get("logprobs"))]
    return replace(answer, logprobs=tokens_in(told)) if told else answer


def _is(part: object, *kinds: str) -> bool:
    return mapping_of(part).get("type") in kinds


def _read_embeddings(payload: Any) -> Answer:
    data = [mapping_of(item) for item in payload["data"]]
    vectors = tuple(_read_vector(item.get("embedding")) for item in _in_order(data))
    if len({len(vector) for vector in vectors if vector is not None}) > 1:
        raise ValueError("the embeddings have different lengths")
    return _answer(
        payload, usage_of(payload.get("usage"), has_output=False), Said(None, None, None), embeddings=vectors
    )


def _in_order(data: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The vectors in the order of their inputs: by `index`, by position where none has one.

    A writer of protocol buffers leaves out an index of 0, so one index alone may be absent.
    Raises: ValueError where the indexes are not those of the inputs.
    """
    told = [item.get("index") for item in data]
    if all(index is None for index in told):
        return list(data)
    places: list[object] = [0 if index is None else index for index in told]
    if sorted(places, key=str) != sorted(range(len(data)), key=str):
        raise ValueError("embeddings are missing")
    return [item for _, item in sorted(zip(places, data, strict=True), key=lambda pair: int(str(pair[0])))]


def _read_vector(value: object) -> NDArray[np.float32] | None:
    """A list of numbers, or the base64 of little-endian float32; None when it is empty, all zeros or not all finite."""
    try:
        vector = _numbers_of(value)
    except ValueError:
        return None
    return vector if vector.any() and np.isfinite(vector).all() else None


def _numbers_of(value: object) -> NDArray[np.float32]:
    """Raises: ValueError."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), dtype="<f4").astype(np.float32)
    numbers = np.asarray(list_of(value))
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        raise ValueError("an embedding isn't a list of numbers")
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


_READ: dict[Endpoint, Callable[[Any], Answer]] = {
    "chat.completions": _read_chat,
    "responses": _read_response,
    "embeddings": _read_embeddings,
}


def _answer(
    payload: Any,
    usage: ToldUsage,
    said: Said,
    *,
    finish_reason: object = None,
    embeddings: Sequence[NDArray[np.float32] | None] = (),
) -> Answer:
    """An answer with what all endpoints tell alike."""
    return Answer(
        text=said.text,
        refusal=said.refusal,  # an empty one is how some providers say that there is none
        finish_reason=_finish_of(finish_reason),
        usage=usage,
        model=name_of(payload.get("model")),
        response_id=name_of(payload.get("id")),
        service_tier=name_of(payload.get("service_tier")) or None,
        thinking=said.thinking,
        embeddings=tuple(embeddings),
    )


def _finish_of(value: object) -> str:
    """How the answer ended; one that doesn't say has ended by itself, one that says it in no known type is `unknown`."""
    if value is None or value == "":
        return "stop"
    return name_of(value) or "unknown"
