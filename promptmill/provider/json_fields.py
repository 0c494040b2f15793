"""The fields of a parsed answer, each read as the type that we store; pure, and none of it raises.

A provider may put any JSON value in any field. A paid answer isn't thrown away because its `id` is a number: what has
another type than the API documents is read as text where that makes sense and as absent where it doesn't.
"""

from collections.abc import Mapping
from typing import cast

import orjson

_NAME_CHARACTERS = 1_000  # far more than any has; cut again once secrets are cut out, so that no part of one is left


def mapping_of(value: object) -> Mapping[str, object]:
    """A JSON object; an empty one in place of anything else."""
    return cast(Mapping[str, object], value) if isinstance(value, dict) else {}


def list_of(value: object) -> list[object]:
    """A JSON array; an empty one in place of anything else."""
    return cast(list[object], value) if isinstance(value, list) else []


def name_of(value: object) -> str:
    """A short text such as an id or a model's name; a number as its digits, anything else as an empty text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value)[:_NAME_CHARACTERS]


def text_of(value: object) -> str | None:
    """What was said: a text as it is, None for null, and the JSON of anything else.

    Raises: ValueError when the value is nested too deeply to be written.
    """
    if value is None or isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:  # orjson.JSONEncodeError
        raise ValueError(f"a field of the answer can't be written as text ({error})") from None
