"""A request's body as bytes with gaps, which each row fills. Pure."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from promptmill.errors import JobError
from promptmill.job.key_order import canonical
from promptmill.prompts.templates import RowUnrenderable

_GAP = re.compile(rb"\x00(\d+)\x00")  # JSON never holds a raw NUL byte, so nothing else looks like a gap


def gap(number: int) -> orjson.Fragment:
    """What stands in a body for the text of a slot."""
    return orjson.Fragment(b"\x00%d\x00" % number)


def cut_body(body: Mapping[str, Any]) -> list[bytes]:
    """The canonical body in pieces: constant ones at even places, the numbers of slots at odd ones."""
    try:
        return _GAP.split(orjson.dumps(canonical(body)))
    except TypeError as error:
        raise JobError(
            f"the request can't be written as JSON ({error}); whole numbers must fit 64 bits, texts must be "
            "valid Unicode. Fix request.parameters or the texts."
        ) from error


def encode_text(text: str, label: str) -> bytes:
    """A text as JSON. Raises: RowUnrenderable."""
    try:
        return orjson.dumps(text)
    except TypeError as error:
        raise RowUnrenderable(
            f"{label}: the text has a lone surrogate, which isn't valid Unicode and can't be sent"
        ) from error
