"""What is said of a line of JSONL that can't be read: what is wrong, and how a file of another shape becomes JSONL."""

import re

from promptmill.bounded_json import JsonTooLarge
from promptmill.dataset.files import InputFile

_NUMBERS = re.compile(rb"[:\[,][ \t]*-?(NaN|Infinity)\b")


class NoObject(Exception):
    """A line of JSON isn't an object; the first argument says what it is."""


def reason(file: InputFile, number: int, line: bytes, error: Exception) -> str:
    """What is wrong with a line."""
    if isinstance(error, JsonTooLarge):
        return f"{file.shown} has a row in line {number} that can't be used: {error} (input.url)"
    if isinstance(error, NoObject):
        return f"{file.shown} has {error} in line {number}; JSONL has one object a line (input.url){_way_out(line)}"
    try:
        line.decode()
    except UnicodeDecodeError:
        return (
            f"{file.shown} isn't UTF-8 in line {number}; text is read as UTF-8, and a file written on Windows is probably "
            "Windows-1252 or UTF-16 (input.url)"
        )
    return f"{file.shown} isn't JSON in line {number}: {error}; JSONL has one object a line (input.url){_way_out(line)}"


def _way_out(line: bytes) -> str:
    """What to do with a file of this shape, if its line tells."""
    text = line.strip()
    if text.startswith(b"["):
        return "; of a file that is one list, `jq -c '.[]' FILE` writes one element a line"
    if text == b"{" or b"}{" in text or b"\r{" in text:
        return "; of objects that aren't one a line, `jq -c . FILE` makes lines"
    if number := _NUMBERS.search(text):
        return f"; JSON has no {number[1].decode()}, so write null"
    return ""
