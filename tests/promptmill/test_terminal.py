"""Texts for people are wrapped at words, and nothing of them is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from promptmill.terminal import wrap_words


@pytest.mark.parametrize(
    ("text", "wrapped"),
    [
        pytest.param("one two three", "one two\nthree", id="between-words"),
        pytest.param(
            "see https://host/a/long/path now", "see\nhttps://host/a/long/path\nnow", id="an-address-stays-whole"
        ),
        pytest.param("  indented", "  indented", id="indentation"),
        pytest.param("first\n\nlast", "first\n\nlast", id="empty-line"),
        pytest.param("日本 日本 日本", "日本 日本\n日本", id="wide-letters"),
    ],
)
def test_lines_end_between_words(text: str, wrapped: str):
    assert wrap_words(Text(text), 10).plain == wrapped


@given(st.text("ab \n日", max_size=60), st.integers(1, 20))
def test_a_wrapped_text_keeps_its_words_and_only_a_long_word_is_wider(text: str, width: int):
    wrapped = wrap_words(Text(text), width).plain

    assert wrapped.split() == text.split()
    assert all(cell_len(line) <= width or len(line.split()) == 1 for line in wrapped.split("\n"))
