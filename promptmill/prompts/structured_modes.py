"""The ways in which a response schema travels with a request: as the API's own field, as a tool, or in the prompt. Pure.

A request's identity is that of its body with `json_schema`, whichever way is used: the mode says how the schema is conveyed,
not what is asked, and answers are checked here in any case. So what a run learns of its provider, or a mode that a user
sets later, makes no stored answer worthless and pays for none again.
Forms: OpenAI API reference (response_format, text.format, tools), read 2026-11-24.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from promptmill.job.request_spec import Endpoint, RequestSpec, StructuredMode
from promptmill.prompts.response_schema import ResponseSchema
from promptmill.prompts.tokens import TokenCounter

_LADDER: tuple[StructuredMode, ...] = ("json_schema", "json_object", "prompt")  # the strongest first
_IN_PROMPT: frozenset[StructuredMode] = frozenset({"json_object", "prompt"})
_INSTRUCTION = (
    "Answer with one JSON object that follows this JSON Schema, and with nothing else: no explanation, no Markdown.\n"
)
_Body = dict[str, Any]


class StructuredModes:
    """How the schema of one job is conveyed."""

    def __init__(self, spec: RequestSpec, schema: ResponseSchema, counter: TokenCounter) -> None:
        self.modes = _modes_of(spec)  # that a run may use, the one to begin with first
        self._endpoint: Endpoint = spec.endpoint
        self._schema = schema
        self._instruction = _INSTRUCTION + orjson.dumps(schema.strict_schema).decode()
        schema_tokens = counter.schema_tokens(schema.strict_schema)
        prompt_tokens = counter.count(self._instruction)
        self.tokens: Mapping[StructuredMode, int] = {  # that the schema adds to a request, at most
            "json_schema": schema_tokens,
            "json_object": prompt_tokens,
            "prompt": prompt_tokens,
            "tool": schema_tokens,
        }

    def write(self, body: bytes, mode: StructuredMode) -> bytes:
        """A request's body, which conveys the schema as `json_schema`, in another mode."""
        if mode == "json_schema":
            return body
        asked: _Body = orjson.loads(body)
        for name in ("response_format", "text"):
            asked.pop(name, None)
        if mode in _IN_PROMPT:
            messages = "messages" if self._endpoint == "chat.completions" else "input"
            asked[messages] = _instructed(asked[messages], self._instruction, self._endpoint)
        return orjson.dumps({**asked, **_FIELDS[self._endpoint, mode](self._schema)})


def _modes_of(spec: RequestSpec) -> tuple[StructuredMode, ...]:
    if spec.structured != "auto":
        return (spec.structured,)
    return _LADDER if "response_format" not in spec.parameters else ("json_object",)


def _instructed(messages: list[_Body], instruction: str, endpoint: Endpoint) -> list[_Body]:
    """The messages with the instruction at the end of the system prompt, or of the last message where there is none."""
    place = 0 if messages[0]["role"] in {"system", "developer"} else len(messages) - 1
    content: object = messages[place]["content"]
    if isinstance(content, str):
        content = f"{content}\n\n{instruction}"
    else:
        kind = "text" if endpoint == "chat.completions" else "input_text"
        content = [*cast(list[_Body], content), {"type": kind, "text": instruction}]
    return [*messages[:place], {**messages[place], "content": content}, *messages[place + 1 :]]


def _no_fields(_: ResponseSchema) -> _Body:
    return {}


def _tool_of_chat(schema: ResponseSchema) -> _Body:
    function = {"name": schema.name, "parameters": schema.strict_schema, "strict": True}
    chosen = {"type": "function", "function": {"name": schema.name}}
    return {"tools": [{"type": "function", "function": function}], "tool_choice": chosen}


def _tool_of_responses(schema: ResponseSchema) -> _Body:
    tool = {"type": "function", "name": schema.name, "parameters": schema.strict_schema, "strict": True}
    return {"tools": [tool], "tool_choice": {"type": "function", "name": schema.name}}


_FIELDS: dict[tuple[Endpoint, StructuredMode], Callable[[ResponseSchema], _Body]] = {
    ("chat.completions", "json_object"): lambda _: {"response_format": {"type": "json_object"}},
    ("chat.completions", "prompt"): _no_fields,
    ("chat.completions", "tool"): _tool_of_chat,
    ("responses", "json_object"): lambda _: {"text": {"format": {"type": "json_object"}}},
    ("responses", "prompt"): _no_fields,
    ("responses", "tool"): _tool_of_responses,
}
