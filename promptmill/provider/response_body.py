"""An answer's body → the few of its fields that we keep. Pure.

The SDK's typed parsing costs as much as all the rest of a request and refuses nothing that we need to refuse, so the
fields are read here; whatever lacks them raises `Unreadable` and is tried again.
Shapes: OpenAI API reference (chat completions, responses, embeddings), read 2026-11-24.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from promptmill.job.spec import Endpoint
from promptmill.records import Usage

PATHS: dict[Endpoint, str] = {
    "chat.completions": "chat/completions",
    "responses": "responses",
    "embeddings": "embeddings",
}


class Unreadable(ValueError):
    """A body that is no answer: not JSON, cut off, or without the fields an answer has."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said, how it ended and what it took."""

    text: str | None  # None when nothing was said
    refusal: str | None
    finish_reason: str  # stop | length | content_filter | …
    usage: Usage
    model: str
    response_id: str
    service_tier: str | None
    cache_write_tokens: int = 0  # input tokens that the provider stored, and charges more for
    embeddings: tuple[NDArray[np.float32], ...] = ()  # in the order of the inputs


def read_answer(endpoint: Endpoint, content: bytes) -> Answer:
    """The answer in the body of a 200. Raises: Unreadable."""
    try:
        payload: Any = orjson.loads(content)
        return read_payload(endpoint, payload)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"the answer can't be read ({type(error).__name__}: {error})") from error


def read_payload(endpoint: Endpoint, payload: Any) -> Answer:
    """The answer in a parsed body. Raises: KeyError, IndexError, TypeError, AttributeError or ValueError."""
    if endpoint == "chat.completions":
        return _read_chat(payload)
    return _read_response(payload) if endpoint == "responses" else _read_embeddings(payload)


def _read_chat(payload: Any) -> Answer:
    choice = payload["choices"][0]
    message = choice["message"]
    content = message.get("content")
    if content is None and message.get("refusal") is None and choice.get("finish_reason") is None:
        raise ValueError("neither content nor finish_reason")
    text = content if content is None or isinstance(content, str) else orjson.dumps(content).decode()
    return _answer(
        payload,
        text,
        message.get("refusal"),
        choice.get("finish_reason") or "stop",
        "prompt_tokens",
        "completion_tokens",
    )


def _read_response(payload: Any) -> Answer:
    if payload.get("status") == "failed":
        raise ValueError(f"status failed: {(payload.get('error') or {}).get('message')}")
    parts = [part for item in payload["output"] if item["type"] == "message" for part in item["content"]]
    texts = [part["text"] for part in parts if part["type"] == "output_text"]
    refusals = [part["refusal"] for part in parts if part["type"] == "refusal"]
    reason = (payload.get("incomplete_details") or {}).get("reason")
    finish = {"max_output_tokens": "length", "content_filter": "content_filter"}.get(reason or "", reason or "stop")
    text, refusal = "".join(texts) if texts else None, refusals[0] if refusals else None
    return _answer(payload, text, refusal, finish, "input_tokens", "output_tokens")


def _read_embeddings(payload: Any) -> Answer:
    data = sorted(payload["data"], key=lambda item: item["index"])
    if [item["index"] for item in data] != list(range(len(data))):
        raise ValueError("embeddings are missing")
    vectors = tuple(_read_vector(item["embedding"]) for item in data)
    return replace(_answer(payload, None, None, "stop", "prompt_tokens", ""), embeddings=vectors)


def _read_vector(value: str | list[float]) -> NDArray[np.float32]:
    """Floats, or their base64 as little-endian float32."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), dtype="<f4").astype(np.float32)
    return np.asarray(value, dtype=np.float32)


def _answer(
    payload: Any, text: str | None, refusal: str | None, finish_reason: str, input_key: str, output_key: str
) -> Answer:
    """An answer with what all endpoints tell alike; they differ in how they name their tokens, if at all."""
    usage: Mapping[str, Any] = payload.get("usage") or {}
    details = usage.get(f"{input_key}_details") or {}
    tokens = Usage()
    if usage:
        tokens = Usage(int(usage[input_key]), int(details.get("cached_tokens") or 0), int(usage.get(output_key) or 0))
    return Answer(
        text,
        refusal,
        finish_reason,
        tokens,
        payload.get("model") or "",
        payload.get("id") or "",
        payload.get("service_tier"),
        int(details.get("cache_write_tokens") or 0),
    )
