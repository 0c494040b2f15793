"""What a message says, whatever form its content has: a text, a list of parts, thinking beside it, calls of tools. Pure.

Forms: OpenAI's content parts; Mistral's `thinking` chunks; `reasoning_content` (DeepSeek, vLLM) and `reasoning`
(OpenRouter, Groq) beside the content. Thinking is no part of the answer; it is kept apart, so that it can be counted.
"""

from collections.abc import Iterator, Mapping

from promptmill.provider.json_fields import list_of, mapping_of, text_of
from promptmill.record import record

_TEXT_PARTS = frozenset({"text", "output_text", ""})
_THINKING_FIELDS = ("reasoning_content", "reasoning")
_THINKING_PARTS = frozenset({"thinking", "reasoning", "reasoning_text", "summary_text", "redacted_thinking"})


@record
class Said:
    """What a model said; None where it said nothing of the kind."""

    text: str | None
    refusal: str | None
    thinking: str | None


def said_in(message: Mapping[str, object]) -> Said:
    """What a chat message says. Raises: ValueError where a field is nested too deeply to be written."""
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, str) and content:  # as most do
        return Said(content, text_of(refusal) if refusal else None, _beside(message))
    parts = list_of(content)
    if not any(_type_of(part) is not None for part in parts):
        parts = []
    refusal = refusal or next((_field(part, "refusal") for part in parts if _field(part, "refusal")), None)
    text = "".join(_texts(parts)) if parts else text_of(content)
    if not text and (calls := message.get("tool_calls") or message.get("function_call")):
        text = text_of(calls)
    if parts and not text and not any(_type_of(part) in _TEXT_PARTS for part in parts):
        text = None
    return Said(text, text_of(refusal) if refusal else None, _thinking(parts) or _beside(message))


def _beside(message: Mapping[str, object]) -> str | None:
    """The thinking in a field of its own."""
    for name in _THINKING_FIELDS:
        if thinking := message.get(name):
            return text_of(thinking)
    return None


def _type_of(part: object) -> str | None:
    """The type of a content part; None when it is none."""
    if isinstance(part, str):
        return ""
    kind = mapping_of(part).get("type", "" if "text" in mapping_of(part) else None)
    return kind if isinstance(kind, str) else None


def _field(part: object, name: str) -> object:
    return mapping_of(part).get(name)


def _texts(parts: list[object]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif _type_of(part) in _TEXT_PARTS:
            yield text_of(_field(part, "text")) or ""


def _thinking(parts: list[object]) -> str:
    """The thinking in the parts, joined; Mistral's is itself a list of parts."""
    found: list[str] = []
    for part in parts:
        if _type_of(part) in _THINKING_PARTS:
            inner = _field(part, "thinking") or _field(part, "text")
            found.append("".join(_texts(list_of(inner))) or (inner if isinstance(inner, str) else ""))
    return "".join(found)
