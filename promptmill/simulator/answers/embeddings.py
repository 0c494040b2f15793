"""Makes embeddings: unit vectors that depend only on the text, the model and the seed.

The vectors are pseudo-random bytes of unit length. Equal texts have equal vectors; otherwise the vectors mean nothing.
Limits (2,048 inputs, 8,192 tokens each, 300,000 together): OpenAI's API description, read 2026-11-24.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from promptmill.simulator.answers.calls import read_model
from promptmill.simulator.errors import ApiError, invalid
from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.usage import Tokenizer
from promptmill.simulator.wire import JsonObject, JsonValue, encode

_MAX_INPUTS = 2048
_MAX_INPUT_TOKENS = 8192
_MAX_TOTAL_TOKENS = 300_000
_DIMENSIONS = {"text-embedding-3-large": 3072}
_DEFAULT_DIMENSIONS = 1536
_INVALID_INPUT = "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """A request for embeddings."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]  # texts or lists of token ids
    input_tokens: int
    dimensions: int
    is_base64: bool

    @property
    def text(self) -> str:
        """All texts, joined by line breaks."""
        return "\n".join(item for item in self.inputs if isinstance(item, str))

    @property
    def requested_tokens(self) -> int:
        """Tokens that the provider sets aside for the call."""
        return self.input_tokens


def read_embeddings(body: JsonObject, options: SimulatorOptions, tokenizer: Tokenizer) -> EmbeddingCall:
    """An embeddings body. Raises: ApiError 400 or 404."""
    model = read_model(body, options)
    inputs = _read_inputs(body.get("input"))
    counts = [tokenizer.count(item) if isinstance(item, str) else len(item) for item in inputs]
    _check_sizes(counts)
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        message = f"Invalid value: {encoding!r}. Supported values are: 'float' and 'base64'."
        raise invalid(message, param="encoding_format", code="invalid_value")
    return EmbeddingCall(model, inputs, sum(counts), _read_dimensions(body, model), encoding == "base64")


def embed(call: EmbeddingCall, seed: int) -> list[JsonValue]:
    """One vector for each input, as base64 text or as an array that encodes to a list of numbers."""
    prefix = f"{seed}|{call.model}|".encode()
    vectors = [_unit_vector(prefix + _as_bytes(item), call.dimensions) for item in call.inputs]
    if call.is_base64:
        return [base64.b64encode(vector.tobytes()).decode() for vector in vectors]
    return vectors  # pyright: ignore[reportReturnType] -- orjson writes arrays as lists


def _unit_vector(content: bytes, dimensions: int) -> npt.NDArray[np.float32]:
    stream = hashlib.shake_128(content).digest(dimensions)
    vector = np.frombuffer(stream, np.uint8).astype(np.float32) - 127.5
    return vector / np.sqrt(np.square(vector).sum())


def _as_bytes(item: str | Sequence[int]) -> bytes:
    return item.encode("utf-8", "surrogatepass") if isinstance(item, str) else encode(item)


def _read_inputs(value: JsonValue) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ApiError(400, _INVALID_INPUT)
    if all(isinstance(item, int) for item in value):
        value = [value]
    if len(value) > _MAX_INPUTS:
        message = f"Invalid 'input': array too long. Expected an array with maximum length {_MAX_INPUTS}, but got an "
        raise invalid(f"{message}array with length {len(value)} instead.", "input", "array_above_max_length")
    return tuple(_read_input(item) for item in value)


def _read_input(item: JsonValue) -> str | tuple[int, ...]:
    if isinstance(item, str) and item:
        return item
    if isinstance(item, list) and item:
        return tuple(token for token in item if isinstance(token, int))
    raise ApiError(400, _INVALID_INPUT)


def _check_sizes(counts: list[int]) -> None:
    if max(counts) > _MAX_INPUT_TOKENS:
        message = f"This model's maximum context length is {_MAX_INPUT_TOKENS} tokens, however you requested "
        message += (
            f"{max(counts)} tokens ({max(counts)} in your prompt; 0 for the completion). Please reduce your prompt."
        )
        raise invalid(message)
    if sum(counts) > _MAX_TOTAL_TOKENS:
        message = f"Requested {sum(counts)} tokens, max {_MAX_TOTAL_TOKENS} tokens per request"
        raise ApiError(400, message, type="max_tokens_per_request", code="max_tokens_per_request")


def _read_dimensions(body: JsonObject, model: str) -> int:
    most = _DIMENSIONS.get(model, _DEFAULT_DIMENSIONS)
    wanted = body.get("dimensions")
    if wanted is None:
        return most
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= most:
        message = f"Invalid value for 'dimensions' = {wanted}. Must be between 1 and {most}."
        raise invalid(message, param="dimensions")
    return wanted
