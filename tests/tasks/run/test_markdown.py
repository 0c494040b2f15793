"""Text from outside in our Markdown: shown as it is, and never a heading, a link, a cell or HTML of its own."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks.run.markdown import escape_markdown

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
CELL = re.compile(r"<td>(.*?)</td>")


def shown_in_a_cell(text: str) -> list[str]:
    """The cells of a row in which a text stands."""
    page = RENDERER.render(f"| name | rows |\n|---|---|\n| {escape_markdown(text)} | 7 |\n")
    return [unescape(cell) for cell in CELL.findall(page)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a | b", id="cell"),
        pytest.param("`code` and ``more``", id="code"),
        pytest.param("<img src=x onerror=alert(1)>", id="html"),
        pytest.param("[free money](https://example.com)", id="link"),
        pytest.param("<https://example.com>", id="link-in-brackets"),
        pytest.param("s3://bucket/*_out_*/~~part~~", id="emphasis"),
        pytest.param("&lt;b&gt; &amp;", id="entities"),
        pytest.param("- one", id="list"),
        pytest.param("1. one", id="numbered-list"),
        pytest.param("# heading", id="heading"),
        pytest.param("a\\|b\\", id="backslashes"),
        pytest.param("![](javascript:alert(1))", id="image"),
    ],
)
@pytest.mark.parametrize("before", ["", "- ", "Output: ", "# "])
def test_text_from_outside_is_shown_as_it_is(text: str, before: str) -> None:
    page = RENDERER.render(f"{before}{escape_markdown(text)}\n")
    own = RENDERER.render(f"{before}x\n")

    assert unescape(page) == own.replace("x", text)
    assert shown_in_a_cell(text) == [text, "7"]


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])))
def test_any_text_fills_one_cell(text: str) -> None:
    assert shown_in_a_cell(text) == [" ".join(text.split()), "7"]


@given(st.text())
def test_any_text_stays_on_one_line(text: str) -> None:
    assert len(escape_markdown(text).splitlines()) <= 1


@pytest.mark.parametrize("text", ["https://example.com/a", "www.example.com", "me@example.com"])
def test_an_address_is_no_link_where_markdown_links_bare_addresses(text: str) -> None:
    """GitHub's flavour, of which the Prefect UI's renderer is, finds these by `://`, `www.` and `@` and a dot."""
    escaped = escape_markdown(text)

    assert not re.search(r"(?<!\\)://|www\.|(?<!\\)@", escaped)


def test_words_stay_readable() -> None:
    assert escape_markdown("4,000 rows, 35% of nightly-run/2026") == "4,000 rows, 35% of nightly-run/2026"
