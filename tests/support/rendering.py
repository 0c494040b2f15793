"""One message of one row: what most tests of templates are about."""

from collections.abc import Mapping

from promptmill.job.spec import RequestSpec
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.tokens import TokenCounter

LETTERS = TokenCounter(len, "letters", True)


def builder_of(template: str, columns: list[str], counter: TokenCounter = LETTERS) -> RequestBuilder:
    """A builder of one user message."""
    return RequestBuilder(RequestSpec(model="m", user=template, same_for_all=True), columns, None, counter)


def render(template: str, row: Mapping[str, object]) -> str:
    """What one user message says for a row."""
    builder = builder_of(template, list(row))
    return builder.preview(builder.build(row, 0))["messages"][0]["content"]
