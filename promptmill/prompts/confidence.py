"""How sure a model was of its answer: the mean probability of its tokens, of all and of single properties. Pure.

A token that stands only partly in a value counts for it, since models join quotes and commas to words.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import exp

import orjson

from promptmill.prompts.unwrapping import find_answer

WHOLE = ""  # the key of the whole answer
_SCAN = json.JSONDecoder().raw_decode
_BLANKS = " \t\n\r"


def confidence_of(text: str, tokens: Sequence[tuple[bytes, float]] | None) -> str | None:
    """JSON with the mean probability of an answer's tokens, and that of each top-level text, boolean and number in it.

    `tokens`: the bytes and the log probability of each. None where the provider told none.
    """
    if not tokens:
        return None
    raw, told = text.encode("utf-8", "replace"), b"".join(token for token, _ in tokens)
    chances = [exp(min(0.0, logprob)) for _, logprob in tokens]
    ends = list(accumulate(len(token) for token, _ in tokens))
    first = told.rfind(raw) if raw else -1
    if first < 0:  # the tokens are of another text, such as one with secrets that were cut out
        return orjson.dumps({WHOLE: _mean(chances)}).decode()
    found = {WHOLE: _mean(_between(chances, ends, first, first + len(raw)))}
    for name, start, stop in _scalars(text):
        at = first + len(text[:start].encode("utf-8", "replace"))
        found[name] = _mean(_between(chances, ends, at, at + len(text[start:stop].encode("utf-8", "replace"))))
    return orjson.dumps(found).decode()


def _mean(chances: Sequence[float]) -> float | None:
    return round(sum(chances) / len(chances), 6) if chances else None


def _between(chances: Sequence[float], ends: Sequence[int], start: int, stop: int) -> Sequence[float]:
    """The tokens that stand between two places, at least in part."""
    return chances[bisect_right(ends, start) : bisect_left(ends, stop) + 1]


def _scalars(text: str) -> list[tuple[str, int, int]]:
    """Name, start and stop of each top-level text, boolean and number of an answer, texts without their quotes."""
    start = len(text) - len(text.lstrip(_BLANKS))
    if not _is_object(text, start):
        span = find_answer(text)
        if span is None:
            return []
        start = span.start
    try:
        return list(_properties(text, start))
    except (ValueError, IndexError, RecursionError):
        return []


def _is_object(text: str, start: int) -> bool:
    """Whether the text is one object and nothing else."""
    try:
        _, stop = _SCAN(text, start)
    except (ValueError, RecursionError):
        return False
    return text.startswith("{", start) and not text[stop:].strip(_BLANKS)


def _properties(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Raises: ValueError, IndexError, RecursionError where the text isn't an object."""
    place = _skip(text, start + 1)
    while text[place] == '"':
        name, place = _SCAN(text, place)
        place = _skip(text, _skip(text, place) + 1)
        value, stop = _SCAN(text, place)
        if isinstance(value, str) and value:
            yield name, place + 1, stop - 1
        elif isinstance(value, str | bool | int | float):
            yield name, place, stop
        place = _skip(text, stop)
        place = _skip(text, place + 1) if text[place] == "," else place


def _skip(text: str, place: int) -> int:
    while text[place] in _BLANKS:
        place += 1
    return place
