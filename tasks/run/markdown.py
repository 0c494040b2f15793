"""Escapes text for the Markdown that the Prefect UI shows.

URLs, model names, kinds of failures and messages come from jobs, files and providers, and may hold `|`, backticks, HTML or
links. CommonMark (https://spec.commonmark.org/0.31.2/#backslash-escapes, read 2026-11-26) lets a backslash escape any ASCII
punctuation. Commas, slashes, quotes and a dash inside a word mean nothing there, and stay readable.
"""

import re

_MEANING = re.compile(r"""(?<![0-9A-Za-z])-|[!#&()*+.:<=>@\[\\\]^_`{|}~]""")


def escape_markdown(text: str) -> str:
    """The text on one line, escaped so that Markdown shows every character as it is."""
    return _MEANING.sub(r"\\\g<0>", " ".join(text.split()))
