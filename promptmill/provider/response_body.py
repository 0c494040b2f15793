"""An answer's body → the few of its fields that we keep. Pure.

The SDK's typed parsing costs as much as all the rest of a request and refuses nothing that we need to refuse, so the
fields are read here. A body without what makes an answer raises `Unreadable` and is tried again; a field of another type
than the API documents costs that field only (json_fields.py), since the answer is paid for.
Shapes: OpenAI API reference (chat completions, responses, embeddings), read 2026-11-24.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from promptmill.job.spec import Endpoint
from promptmill.provider.json_fields import list_of, mapping_of, name_of, text_of, usage_of
from promptmill.provider.redaction import redact
from promptmill.records import Usage

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


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said, how it ended and what it took."""

    text: str | None  # None when nothing was said
    refusal: str | None
    finish_reason: str  # stop | length | content_filter | …
    usage: Usage | None  # None when the provider tells none, or none that can be right
    model: str
    response_id: str
    service_tier: str | None
    cache_write_tokens: int = 0  # input tokens that the provider stored, and charges more for
    embeddings: tuple[NDArray[np.float32], ...] = ()  # in the order of the inputs


def read_answer(endpoint: Endpoint, content: bytes, secrets: Sequence[str]) -> Answer:
    """The answer in the body of a 200, the secrets cut out. Raises: Unreadable, and nothing else whatever it holds."""
    try:
        payload: object = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"the answer can't be read: it is no JSON ({error})") from None
    return read_payload(endpoint, payload, secrets)


def read_payload(endpoint: Endpoint, payload: object, secrets: Sequence[str]) -> Answer:
    """The answer in a parsed body, the secrets cut out. Raises: Unreadable, and nothing else whatever it holds."""
    read = {"chat.completions": _read_chat, "responses": _read_response, "embeddings": _read_embeddings}[endpoint]
    try:
        return _redacted(read(payload), secrets)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        reason = redact(f"{type(error).__name__}: {error}", secrets)[:_REASON_CHARACTERS]
        raise Unreadable(f"the answer can't be read ({reason})") from None


def _redacted(answer: Answer, secrets: Sequence[str]) -> Answer:
    """The answer without the secrets that a provider may quote in any of its texts."""
    return replace(
        answer,
        text=None if answer.text is None else redact(answer.text, secrets),
        refusal=None if answer.refusal is None else redact(answer.refusal, secrets),
        finish_reason=redact(answer.finish_reason, secrets)[:_NAME_CHARACTERS],
        model=redact(answer.model, secrets)[:_NAME_CHARACTERS],
        response_id=redact(answer.response_id, secrets)[:_NAME_CHARACTERS],
        service_tier=None if answer.service_tier is None else redact(answer.service_tier, secrets),
    )


def _read_chat(payload: Any) -> Answer:
    choice = payload["choices"][0]
    message = choice["message"]
    content, refusal, finish = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    if content is None and refusal is None and finish is None:
        raise ValueError("neither content nor finish_reason")
    usage = usage_of(payload.get("usage"), "prompt_tokens", "completion_tokens")
    return _answer(payload, usage, text=text_of(content), refusal=refusal, finish_reason=finish)


def _read_response(payload: Any) -> Answer:
    if payload.get("status") == "failed":
        raise ValueError(f"status failed: {mapping_of(payload.get('error')).get('message')}")
    items = [item for item in map(mapping_of, payload["output"]) if item.get("type") == "message"]
    parts = [mapping_of(part) for item in items for part in list_of(item.get("content"))]
    texts = [text_of(part.get("text")) or "" for part in parts if part.get("type") == "output_text"]
    refusals = [part.get("refusal") for part in parts if part.get("type") == "refusal"]
    reason = name_of(mapping_of(payload.get("incomplete_details")).get("reason"))
    usage = usage_of(payload.get("usage"), "input_tokens", "output_tokens")
    return _answer(
        payload,
        usage,
        text="".join(texts) if texts else None,
        refusal=refusals[0] if refusals else None,
        finish_reason=_CUT_BY.get(reason, reason),
    )


def _read_embeddings(payload: Any) -> Answer:
    data = sorted(payload["data"], key=lambda item: item["index"])
    if [item["index"] for item in data] != list(range(len(data))):
        raise ValueError("embeddings are missing")
    vectors = tuple(_read_vector(item["embedding"]) for item in data)
    return _answer(payload, usage_of(payload.get("usage"), "prompt_tokens", None), embeddings=vectors)


def _read_vector(value: object) -> NDArray[np.float32]:
    """A list of finite numbers, or the base64 of little-endian float32."""
    if isinstance(value, str):
        vector = np.frombuffer(base64.b64decode(value), dtype="<f4").astype(np.float32)
    else:
        numbers = np.asarray(list_of(value))
        if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
            raise ValueError("an embedding isn't a list of numbers")
        with np.errstate(over="ignore"):
            vector = numbers.astype(np.float32)
    if not len(vector) or not np.isfinite(vector).all():
        raise ValueError("an embedding is empty or has numbers that aren't finite")
    return vector


def _answer(
    payload: Any,
    usage: tuple[Usage | None, int],
    *,
    text: str | None = None,
    refusal: object = None,
    finish_reason: object = None,
    embeddings: Sequence[NDArray[np.float32]] = (),
) -> Answer:
    """An answer with what all endpoints tell alike."""
    tokens, written = usage
    return Answer(
        text=text,
        refusal=text_of(refusal) if refusal else None,  # an empty one is how some providers say that there is none
        finish_reason=_finish_of(finish_reason),
        usage=tokens,
        model=name_of(payload.get("model")),
        response_id=name_of(payload.get("id")),
        service_tier=name_of(payload.get("service_tier")) or None,
        cache_write_tokens=written,
        embeddings=tuple(embeddings),
    )


def _finish_of(value: object) -> str:
    """How the answer ended; one that doesn't say has ended by itself, one that says it in no known type is `unknown`."""
    if value is None or value == "":
        return "stop"
    return name_of(value) or "unknown"
