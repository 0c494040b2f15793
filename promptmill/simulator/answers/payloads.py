"""Answers in the shape of each endpoint.

Field names and their nulls: OpenAI's API description (openai-openapi), read 2026-11-24.
"""

import time

from promptmill.simulator.answers.calls import TextCall
from promptmill.simulator.answers.reply import Reply
from promptmill.simulator.wire import JsonObject, JsonValue


def chat_payload(call: TextCall, reply: Reply, digest: bytes) -> JsonObject:
    """A `chat.completion` object."""
    message: JsonObject = {
        "role": "assistant",
        "content": None if reply.refusal else reply.text,
        "refusal": reply.refusal,
        "annotations": [],
    }
    return {
        "id": f"chatcmpl-{digest.hex()[:29]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": call.model,
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
            for index in range(call.choices)
        ],
        "usage": reply.usage.as_chat(),
        "service_tier": call.service_tier,
        "system_fingerprint": "fp_simulator",
    }


def response_payload(call: TextCall, reply: Reply, digest: bytes) -> JsonObject:
    """A `response` object with one message."""
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    reason = reasons.get(reply.finish_reason)
    status = "incomplete" if reason else "completed"
    output: list[JsonValue] = [
        {
            "id": f"msg_{digest.hex()[:48]}",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [_content(reply)],
        }
    ]
    return {
        "id": f"resp_{digest.hex()[:48]}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "max_output_tokens": call.max_output_tokens,
        "metadata": {},
        "model": call.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": call.service_tier,
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": call.format.kind}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": reply.usage.as_response(),
    }


def _content(reply: Reply) -> JsonObject:
    if reply.refusal is not None:
        return {"type": "refusal", "refusal": reply.refusal}
    return {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}


def embeddings_payload(model: str, vectors: list[JsonValue], usage: JsonObject) -> JsonObject:
    """A list of `embedding` objects, in the order of the inputs."""
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)],
        "model": model,
        "usage": usage,
    }
