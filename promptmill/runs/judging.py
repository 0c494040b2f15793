"""What is wrong with an answer, so that its row has none. Pure.

How an answer ended is told in many words; those that mean a whole answer are many more than those that don't, so these are
listed and any other is taken for the end of a whole answer.
Finish reasons: OpenAI, Azure, Gemini, Mistral, DeepSeek, Z.AI, OpenRouter and vLLM API references and issues, read 2026-11-27.
"""

from collections.abc import Callable

from promptmill.prompts.response_schema import NO_JSON
from promptmill.provider.attempt import Complaint, VectorHabits
from promptmill.provider.response_body import Answer
from promptmill.records import FailureKind

Validate = Callable[[str], str | None]  # what is wrong with a text, or None
_CUT = "the answer was cut at the output limit"
_LEFT_OUT = "the provider's filter cut the answer"
_BROKEN = "the provider broke the answer off"
_FULL = "the row and its answer are longer than the model's context"
_SPOILT = "the provider threw the answer away, since it breaks the format"
_NO_VECTOR = Complaint("invalid_response", "the answer has no embedding that can be used", is_worth_another=True)
_LEAST_WINDOW = 256  # tokens: no server cuts a prompt to fewer, and one that tells fewer doesn't count
_LEAST_READ = (
    0.6  # of our count: tokenizers differ by less, and servers that cut leave half of their window (Ollama, llama.cpp)
)
_ENDS: dict[str, tuple[FailureKind, str]] = {
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens"), ("truncated", _CUT)),
    **dict.fromkeys(
        ("content_filter", "content_filtered", "sensitive", "safety", "recitation", "blocklist", "prohibited_content",
         "spii", "guardrail_intervened"),
        ("content_filter", _LEFT_OUT),
    ),
    **dict.fromkeys(
        ("error", "network_error", "insufficient_system_resource", "abort", "aborted", "cancelled", "timeout",
         "server_error"),
        ("server_error", _BROKEN),
    ),
    **dict.fromkeys(
        ("malformed_function_call", "function_call_filter: malformed_function_call", "unexpected_tool_call"),
        ("invalid_response", _SPOILT),
    ),
    **dict.fromkeys(("model_context_window_exceeded", "model_length"), ("context_length_exceeded", _FULL)),
}  # fmt: skip


def judge_text(answer: Answer, validate: Validate | None, *, allow_empty: bool = False) -> Complaint | None:
    """What is wrong with an answer's text, or None."""
    if answer.refusal is not None:
        return Complaint("refusal", answer.refusal, is_worth_another=False)
    if (end := _ENDS.get(answer.finish_reason.lower())) is not None:
        kind, message = end
        named = f"; {answer.filtered_for}" if answer.filtered_for else ""
        told = "" if kind == "truncated" else f" (finish_reason {answer.finish_reason}{named})"
        return Complaint(kind, f"{message}{told}", is_worth_another=kind in {"server_error", "invalid_response"})
    if answer.text is None or not answer.text.strip():
        if allow_empty:
            return None
        return Complaint("empty_response", _describe_empty(answer), is_worth_another=True)
    wrong = validate(answer.text) if validate is not None else None
    if wrong is None:
        return None
    return Complaint("invalid_response", wrong, is_worth_another=True, is_formless=wrong.startswith(NO_JSON))


def judge_input(answer: Answer, text_tokens: int) -> Complaint | None:
    """Whether the provider cut the prompt in silence: it counts far fewer tokens than the prompt's texts have.

    A count below any window, such as 0 or a constant, is how some servers say that they don't count.
    """
    told = answer.usage.input_tokens
    return None if told is None else judge_count(told, text_tokens, answer.usage.beside_tokens)


def judge_count(told: int, text_tokens: int, beside_tokens: int = 0) -> Complaint | None:
    """The same by the tokens that the provider tells, and those that it counts beside them."""
    if told < _LEAST_WINDOW or told + beside_tokens >= text_tokens * _LEAST_READ:
        return None
    message = (
        f"the provider counts {told:,} input tokens where the prompt's texts have about {text_tokens:,}: it has cut the prompt "
        "and answered the rest. Make its context window larger (num_ctx of Ollama, --ctx-size of llama.cpp), or keep long "
        "rows from it by request.max_input_tokens"
    )
    return Complaint("truncated_input", message, is_worth_another=False)


def refused_text(answer: Answer) -> str | None:
    """What to keep of an answer that won't do: its text, or the words of its refusal."""
    return answer.text if answer.text else answer.refusal


def _describe_empty(answer: Answer) -> str:
    said = "the answer has no text" if answer.text is None else "the answer's text is empty"
    beside = ", only thinking beside it" if answer.thinking else ""
    return f"{said}{beside}; request.allow_empty accepts such answers"


def judge_vectors(answer: Answer, expected: int, dimensions: int | None) -> Complaint | None:
    """What is wrong with the vectors of an answer as a whole, or None; `dimensions` is how long they must be."""
    count = len(answer.embeddings)
    if count != expected:
        return Complaint("invalid_response", f"{count} embeddings came for {expected} inputs", is_worth_another=False)
    lengths = {len(vector) for vector in answer.embeddings if vector is not None}
    if dimensions is not None and lengths - {dimensions}:
        message = f"the embedding has {min(lengths)} numbers, where {dimensions} are due"
        return Complaint("invalid_response", message, is_worth_another=True)
    return None


def judge_only_vector(answer: Answer, habits: VectorHabits) -> Complaint | None:
    """What is wrong with an answer's one vector, or None; the first good one says how long the others are."""
    complaint = judge_vectors(answer, 1, habits.dimensions)
    if complaint is not None:
        return complaint
    vector = answer.embeddings[0]
    if vector is None:
        return _NO_VECTOR
    habits.dimensions = len(vector)
    return None
