"""Reads a request body into the values that an answer depends on, and refuses what the provider couldn't read.

It lets unknown fields through, as most servers of this protocol do. It refuses streaming, since nobody streams a dataset.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from promptmill.simulator.answers.strict_schema import require_strict
from promptmill.simulator.errors import ApiError, context_too_long, invalid, no_such_model
from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.usage import TOKENS_PER_IMAGE, TOKENS_PER_MESSAGE, TOKENS_PER_REPLY, Tokenizer
from promptmill.simulator.wire import JsonObject, JsonValue

TextEndpoint = Literal["/v1/chat/completions", "/v1/responses"]
_TEXT_PARTS = frozenset(("text", "input_text", "output_text"))


@dataclass(frozen=True, slots=True)
class Format:
    """The required form of the answer's text."""

    kind: str = "text"  # text | json_object | json_schema
    schema: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class TextCall:
    """A request for a chat completion or a response."""

    endpoint: TextEndpoint
    model: str
    text: str  # all messages, joined by line breaks
    last_text: str  # the last message
    input_tokens: int
    max_output_tokens: int | None
    format: Format
    choices: int
    service_tier: str  # the tier that the answer will name

    @property
    def requested_tokens(self) -> int:
        """Tokens that the provider sets aside for the call."""
        return self.input_tokens + self.choices * (self.max_output_tokens or 0)


def read_model(body: JsonObject, options: SimulatorOptions) -> str:
    """The model's name. Raises: ApiError 400 or 404."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("you must provide a model parameter")
    if options.strict_models and model not in options.models:
        raise no_such_model(model)
    return model


def read_chat(body: JsonObject, options: SimulatorOptions, tokenizer: Tokenizer) -> TextCall:
    """A chat completion's body. Raises: ApiError 400 or 404."""
    maximum = _read_count(body, "max_completion_tokens")
    older = _read_count(body, "max_tokens")
    if maximum is not None and older is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise invalid(message, param="max_tokens", code="invalid_parameter_combination")
    messages = body.get("messages")
    if messages is None:
        raise _missing("messages")
    wanted = _object(body.get("response_format"), "response_format")
    nested = _object(wanted.get("json_schema"), "response_format.json_schema")
    return _read_text(
        "/v1/chat/completions",
        body,
        said=list(_read_messages(messages, "messages")),
        maximum=older if maximum is None else maximum,
        wanted=_read_format(wanted.get("type"), nested, "response_format"),
        options=options,
        tokenizer=tokenizer,
    )


def read_response(body: JsonObject, options: SimulatorOptions, tokenizer: Tokenizer) -> TextCall:
    """A response's body. Raises: ApiError 400 or 404."""
    given = body.get("input")
    if given is None:
        raise _missing("input")
    said = [(given, 0)] if isinstance(given, str) else list(_read_messages(given, "input"))
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        said.insert(0, (instructions, 0))
    wanted = _object(_object(body.get("text"), "text").get("format"), "text.format")
    return _read_text(
        "/v1/responses",
        body,
        said=said,
        maximum=_read_count(body, "max_output_tokens"),
        wanted=_read_format(wanted.get("type"), wanted, "text.format"),
        options=options,
        tokenizer=tokenizer,
    )


def _read_text(
    endpoint: TextEndpoint,
    body: JsonObject,
    *,
    said: list[tuple[str, int]],
    maximum: int | None,
    wanted: Format,
    options: SimulatorOptions,
    tokenizer: Tokenizer,
) -> TextCall:
    if body.get("stream"):
        raise invalid("Streaming is not simulated. Leave out 'stream'.", param="stream", code="unsupported_value")
    tokens = TOKENS_PER_REPLY
    for text, images in said:
        tokens += TOKENS_PER_MESSAGE + tokenizer.count(text) + TOKENS_PER_IMAGE * images
    window = options.context_window
    if window is not None and tokens + (maximum or 0) > window:
        raise context_too_long(window, tokens + (maximum or 0))
    return TextCall(
        endpoint=endpoint,
        model=read_model(body, options),
        text="\n".join(text for text, _ in said),
        last_text=said[-1][0],
        input_tokens=tokens,
        max_output_tokens=maximum,
        format=wanted,
        choices=_read_count(body, "n") or 1,
        service_tier=_read_tier(body),
    )


def _read_messages(value: JsonValue, name: str) -> Iterator[tuple[str, int]]:
    """Each message's text and its number of images."""
    if not isinstance(value, list):
        raise invalid(f"Invalid type for '{name}': expected an array of objects.", name, "invalid_type")
    if not value:
        message = f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array."
        raise invalid(f"{message[:-1]} instead.", name, "empty_array")
    for index, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _missing(f"{name}[{index}].role")
        yield _read_content(message.get("content"), f"{name}[{index}].content")


def _read_content(content: JsonValue, name: str) -> tuple[str, int]:
    if isinstance(content, str):
        return content, 0
    if content is None:
        return "", 0
    if not isinstance(content, list):
        message = f"Invalid type for '{name}': expected one of a string or array of objects."
        raise invalid(message, param=name, code="invalid_type")
    parts = [part for part in content if isinstance(part, dict)]
    texts = [text for part in parts if part.get("type") in _TEXT_PARTS and isinstance(text := part.get("text"), str)]
    return "\n".join(texts), len(parts) - len(texts)


def _read_format(kind: JsonValue, holder: JsonObject, param: str) -> Format:
    if kind is None:
        return Format()
    if kind not in ("text", "json_object", "json_schema"):
        message = f"Invalid value: {kind!r}. Supported values are: 'text', 'json_object', and 'json_schema'."
        raise invalid(message, f"{param}.type", "invalid_value")
    if kind != "json_schema":
        return Format(str(kind))
    if not isinstance(holder.get("name"), str):
        raise _missing(f"{param}.json_schema.name" if param == "response_format" else f"{param}.name")
    schema = _object(holder.get("schema"), f"{param}.schema")
    if holder.get("strict"):
        require_strict(schema, str(holder["name"]), param)
    return Format("json_schema", schema)


def _read_count(body: JsonObject, name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(f"Invalid type for '{name}': expected an integer.", name, "invalid_type")
    if value < 1:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead."
        raise invalid(message, param=name, code="integer_below_min_value")
    return value


def _read_tier(body: JsonObject) -> str:
    tier = body.get("service_tier")
    return "default" if not isinstance(tier, str) or tier == "auto" else tier


def _object(value: JsonValue, name: str) -> JsonObject:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"Invalid type for '{name}': expected an object.", name, "invalid_type")
    return value


def _missing(name: str) -> ApiError:
    return invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
