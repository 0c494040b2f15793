"""Rows that are too long to be sent: for the job's own limit, or for what the model reads. Pure."""

from dataclasses import dataclass

from promptmill.prompts.tokens import TokenCounter
from promptmill.records import Request

_DOUBT = 1.5  # how many times the tokens of a model's own tokenizer another one may count


@dataclass(frozen=True, slots=True)
class InputLimit:
    """How long a request may be; None where nothing is known."""

    own: int | None = None  # request.max_input_tokens
    context_tokens: int | None = None  # beyond which the model reads nothing, whatever its tokenizer is

    def complaint(self, request: Request) -> str | None:
        """Why a request is too long; None when it isn't."""
        if self.own is not None and request.input_tokens > self.own:
            return (
                f"the request has {request.input_tokens:,} input tokens; the limit is {self.own:,} "
                "(request.max_input_tokens). Nothing was sent: cut the row in the template, or raise the limit and run with "
                "--retry-failed."
            )
        if self.context_tokens is not None and request.text_tokens > self.context_tokens:
            return (
                f"the request has {request.text_tokens:,} input tokens; by the price table the model can't read more than "
                f"{self.context_tokens:,}. Nothing was sent: cut the row in the template, or take another model."
            )
        return None


def limit_of(own: int | None, context_tokens: int | None, counter: TokenCounter) -> InputLimit:
    """The limit of a job's requests. Where the tokenizer isn't the model's own, only what is far too long is known to be."""
    if context_tokens is not None and not counter.is_exact:
        context_tokens = int(context_tokens * _DOUBT)
    return InputLimit(own, context_tokens)
