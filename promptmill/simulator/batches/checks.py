"""Finds mistakes in a batch's input file. It looks only at the file and asks no model.

Codes and texts were observed on OpenAI (openai-python issues 1643 and 2084) or are documented by Azure's Batch guide,
read 2026-11-24; `missing_required_parameter`, `invalid_method` and `file_too_large` are our guesses.
"""

from array import array

from promptmill.simulator.answers.engine import Endpoint, read_call
from promptmill.simulator.errors import ApiError
from promptmill.simulator.options import SimulatorOptions
from promptmill.simulator.state.batch import Problem
from promptmill.simulator.usage import Tokenizer
from promptmill.simulator.wire import JsonObject, JsonValue, decode

_MAX_PROBLEMS = 100  # mistakes that one batch shows
_MAX_EMBEDDING_INPUTS = 50_000  # inputs of one batch, summed over its lines


class FileCheck:
    """Reads lines one by one and remembers where they begin and which mistakes they have."""

    def __init__(self, endpoint: Endpoint, options: SimulatorOptions, tokenizer: Tokenizer) -> None:
        self.model: str | None = None
        self.input_tokens = 0  # counted only where tokens in the queue are limited
        self.offsets = array("Q")  # offsets of the lines' first bytes
        self.problems: list[Problem] = []
        self._endpoint: Endpoint = endpoint
        self._options = options
        self._tokenizer = tokenizer
        self._seen: set[str] = set()
        self._embedding_inputs = 0

    def add(self, offset: int, raw: bytes) -> None:
        """Check one line; skip it if it is empty."""
        if not raw.strip():
            return
        self.offsets.append(offset)
        if len(self.problems) < _MAX_PROBLEMS:
            self._check(len(self.offsets), raw)

    def finish(self) -> None:
        """Check the file as a whole."""
        most = self._options.batch_max_lines
        if not self.offsets:
            message = "The input file is empty. Please ensure that the batch contains at least one request."
            self.problems.append(Problem("empty_file", message))
        if len(self.offsets) > most:
            message = f"The batch contains {len(self.offsets)} requests. The maximum is {most} requests per batch."
            self.problems.append(Problem("too_many_tasks", message))
        if self._embedding_inputs > _MAX_EMBEDDING_INPUTS:
            message = f"The batch contains {self._embedding_inputs} embedding inputs. The maximum is "
            self.problems.append(Problem("too_many_tasks", f"{message}{_MAX_EMBEDDING_INPUTS} inputs per batch."))

    def _check(self, number: int, raw: bytes) -> None:
        try:
            line = decode(raw)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            message = "This line is not parseable as valid JSON."
            self.problems.append(Problem("invalid_json_line", message, line=number))
            return
        problem = self._check_envelope(number, line) or self._check_body(number, line["body"])
        if problem is not None:
            self.problems.append(problem)

    def _check_envelope(self, number: int, line: JsonObject) -> Problem | None:
        for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
            if not isinstance(line.get(name), kind):
                message = f"Missing required parameter: '{name}'."
                return Problem("missing_required_parameter", message, name, number)
        custom_id = str(line["custom_id"])
        if custom_id in self._seen:
            message = f"The custom_id '{custom_id}' for this request is a duplicate of another request. "
            message += "The custom_id parameter must be unique for each request in a batch."
            return Problem("duplicate_custom_id", message, "custom_id", number)
        self._seen.add(custom_id)
        if line["method"] != "POST":
            return Problem("invalid_method", "Only POST is supported.", "method", number)
        if line["url"] != self._endpoint:
            message = "The URL provided for this request does not match the batch endpoint."
            return Problem("url_mismatch", message, "url", number)
        return None

    def _check_body(self, number: int, body: JsonValue) -> Problem | None:
        if not isinstance(body, dict):
            return None
        model = body.get("model")
        if not isinstance(model, str):
            return Problem("missing_required_parameter", "Missing required parameter: 'model'.", "body.model", number)
        if self._options.strict_models and model not in self._options.models:
            message = f"The provided model '{model}' is not supported by the Batch API."
            return Problem("model_not_found", message, "body.model", number)
        if self.model is None:
            self.model = model
        if model != self.model:
            message = "Each batch must contain requests for a single model"
            return Problem("mismatched_model", message, "body.model", number)
        self._count(body)
        return None

    def _count(self, body: JsonObject) -> None:
        if self._endpoint == "/v1/embeddings":
            given = body.get("input")
            self._embedding_inputs += len(given) if isinstance(given, list) else 1
        if self._options.enqueued_token_limit is None:
            return
        try:
            self.input_tokens += read_call(self._endpoint, body, self._options, self._tokenizer).input_tokens
        except ApiError:
            return  # the run refuses such a line later, so it holds no tokens


def missing_file(file_id: str, organization: str) -> Problem:
    """The file isn't there, or the provider can't see it yet."""
    message = f"Cannot find file {file_id}, or organization {organization} does not have access to it."
    return Problem("invalid_request", message, "file_id")


def file_too_large(size_bytes: int, most: int) -> Problem:
    """The file is larger than a batch may be."""
    return Problem("file_too_large", f"The input file has {size_bytes} bytes. The maximum is {most} bytes.", "file_id")


def queue_full(model: str | None, organization: str, limit: int) -> Problem:
    """Too many tokens wait in batches of this model."""
    message = (
        f"Enqueued token limit reached for {model} in organization {organization}. Limit: {limit:,} enqueued tokens. "
        "Please try again once some in_progress batches have been completed."
    )
    return Problem("token_limit_exceeded", message)
