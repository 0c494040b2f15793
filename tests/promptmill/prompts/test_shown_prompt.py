"""A prompt as people read it: what comes from the row is told apart, and the text is the one that is sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.job.spec import RequestSpec
from promptmill.prompts.shown_prompt import shown_messages

ROW = {"text": "good", "name": "Ann", "n": 3, "url": "https://host/a.png"}


def marked(row: dict[str, Any] = ROW, **request: Any) -> list[str]:
    """Each message with brackets around what comes from the row."""
    spec = RequestSpec.model_validate({"model": "m", **request})
    return [
        f"{message.role}: "
        + "".join(f"<{piece.text}>" if piece.is_from_row else piece.text for piece in message.pieces)
        for message in shown_messages(spec, list(row), row)
    ]


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        pytest.param("Say {{ text }}!", "Say <good>!", id="value"),
        pytest.param("{% if n > 2 %}Many{% endif %} of {{ n }}", "Many of <3>", id="constant-chosen-by-a-value"),
        pytest.param("{{ text|upper }}", "<GOOD>", id="filter"),
        pytest.param("{% for c in text %}{{ c }}.{% endfor %}", "<g>.<o>.<o>.<d>.", id="loop"),
        pytest.param("{% set a %}x{{ text }}{% endset %}{{ a }}", "<x><good>", id="printed-twice"),
        pytest.param(
            "{% filter truncate(3, True, '', 0) %}{{ text }}{% endfilter %}", "<goo>", id="marks-would-change-the-text"
        ),
        pytest.param("{{ row['name'] }}", "<Ann>", id="row"),
    ],
)
def test_what_comes_from_the_row_is_told_apart(user: str, shown: str):
    assert marked(user=user) == [f"user: {shown}"]


def test_every_kind_of_message_is_shown():
    parts = [{"type": "text", "text": "See {{ name }}"}, {"type": "image_url", "image_url": {"url": "{{ url }}"}}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]

    assert marked(messages=messages) == [
        "developer: Be brief.",
        "user: See <Ann>\n[image_url: <https://host/a.png>]",
    ]
    assert marked(endpoint="embeddings", input="{{ text }}") == ["input: <good>"]


@given(st.text(max_size=20))
def test_the_shown_text_is_the_one_that_is_sent(text: str):
    row = {"text": text.encode("utf-8", "replace").decode()}
    spec = RequestSpec.model_validate({"model": "m", "user": "a {{ text }} b"})
    (message,) = shown_messages(spec, ["text"], row)

    assert "".join(piece.text for piece in message.pieces) == f"a {row['text']} b"
