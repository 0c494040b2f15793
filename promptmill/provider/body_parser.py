"""A body → the JSON value in it: first as JSON is defined, then as servers really write it. Pure.

The second parser reads what some servers send for an answer that is paid for: NaN, half an emoji (a lone surrogate), bytes
that are no UTF-8, control characters in texts, a byte order mark, comment lines that keep a connection alive (OpenRouter
sends `: OPENROUTER PROCESSING` and empty lines before the JSON), gzip without its header, and an event stream that nobody
asked for. Its answers equal those of the first parser wherever that one can read the body.
"""

import json
import re
import zlib
from collections.abc import Iterator
from typing import cast

import orjson

from promptmill.provider.json_fields import list_of, mapping_of, text_of

MOST_ANSWER_BYTES = 64 * 1024 * 1024  # after decompression; 0.4 MB of gzip can hold 2.7 GB
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")  # how gzip and zlib begin, and no JSON
_LINE_END = re.compile(r"\r\n|[\r\n]")  # of an event stream; a JSON text may hold any other
_COMMENTS = re.compile(r"\A(?:\s*:[^\r\n]*)+")


class TooManyBytes(ValueError):
    """A compressed body that holds more than an answer has."""


class NoJson(ValueError):
    """A body that holds no JSON that could be an answer."""


def parse_body(content: bytes) -> object:
    """The JSON value in a body. Raises: NoJson."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        reason = str(error)
    try:
        return _parse_tolerantly(content)
    except (ValueError, RecursionError):
        raise NoJson(f"it is no JSON ({reason})") from None


def _parse_tolerantly(content: bytes) -> object:
    """Raises: ValueError, RecursionError."""
    text = unzipped(content).decode("utf-8-sig", "replace").strip()
    if text.startswith(("data:", "event:", "id:", ":")):
        events = list(_events(text))
        if events:
            return _joined(events)
        text = _COMMENTS.sub("", text)
    return _storable(json.loads(text, strict=False, parse_constant=lambda _: None))


def unzipped(content: bytes, most_bytes: int = MOST_ANSWER_BYTES) -> bytes:
    """A body without gzip or zlib, whatever its headers say of that.

    Raises: ValueError when compressed bytes are damaged, and TooManyBytes, which is one, when they hold too much.
    """
    if not content.startswith(_COMPRESSED):
        return content
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # either of the two
    try:
        data = unzip.decompress(content, most_bytes + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(data) > most_bytes:
        raise TooManyBytes("more bytes than an answer has")
    return data


def _storable(value: object) -> object:
    """A value whose texts can be written as UTF-8: half of a character is replaced."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        pairs = cast(dict[str, object], value).items()
        return {str(_storable(key)): _storable(inner) for key, inner in pairs}
    if isinstance(value, list):
        return [_storable(inner) for inner in cast(list[object], value)]
    return value


def _events(text: str) -> Iterator[object]:
    """The JSON of each `data:` line of an event stream. Raises: ValueError when one is torn."""
    for line in _LINE_END.split(text):
        name, _, data = line.partition(":")
        if name.strip() == "data" and data.strip() not in {"", "[DONE]"}:
            yield _storable(json.loads(data, strict=False, parse_constant=lambda _: None))


def _joined(events: list[object]) -> object:
    """One answer out of the pieces of a stream: of chat completions, or the last state of a response."""
    states = [mapping_of(event).get("response") for event in events]
    if states[-1] is not None:
        return states[-1]
    if not any(list_of(mapping_of(event).get("choices")) for event in events):
        return events[-1]
    joined: dict[str, object] = {}
    texts: list[str] = []
    finish: object = None
    for event in map(mapping_of, events):
        joined |= {key: value for key, value in event.items() if value is not None}
        for choice in map(mapping_of, list_of(event.get("choices"))[:1]):
            piece = mapping_of(choice.get("delta", choice.get("message")))
            texts.append(text_of(piece.get("content")) or "")
            finish = choice.get("finish_reason") or finish
    message = {"role": "assistant", "content": "".join(texts)}
    if finish is None:
        raise ValueError("the stream ends before the answer does")
    return {**joined, "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
