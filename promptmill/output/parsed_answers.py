"""Raw answers → the objects that they say, each parsed once for the output's columns and the report together. Pure."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from operator import itemgetter
from typing import Any, cast

import orjson
import pyarrow as pa

from promptmill.arrow import pc
from promptmill.prompts.unwrapping import read_answer


class ParsedAnswers:
    """The raw answers of some rows, parsed when somebody first asks for a value."""

    def __init__(self, texts: Sequence[str | None] | pa.ChunkedArray) -> None:
        self._texts = texts
        self._values: dict[str, list[Any]] = {}

    @cached_property
    def texts(self) -> Sequence[str | None]:
        """The answers as they came."""
        found = self._texts
        return cast(list[str | None], cast(Any, found).to_pylist()) if isinstance(found, pa.ChunkedArray) else found

    @cached_property
    def objects(self) -> list[dict[str, Any]]:
        """For each answer the object that it says, unwrapped; an empty one where it says none."""
        found: list[object] = []
        with suppress(orjson.JSONDecodeError):  # which it raises for None too
            found = [*map(orjson.loads, cast(Sequence[str], self.texts))]
        if len(found) < len(self.texts) or not {*map(type, found)} <= {dict}:
            return [parse_object(text) for text in self.texts]
        return cast(list[dict[str, Any]], found)

    def values(self, name: str) -> list[Any]:
        """What each answer says for a property; None where it says nothing."""
        if name not in self._values:
            try:
                self._values[name] = [*map(itemgetter(name), self.objects)]
            except KeyError:
                self._values[name] = [answer.get(name) for answer in self.objects]
        return self._values[name]


def parsed_successes(answers: pa.Table) -> ParsedAnswers:
    """The answers of those rows that succeeded."""
    succeeded = answers if answers["kind"].null_count == len(answers) else answers.filter(pc.is_null(answers["kind"]))
    return ParsedAnswers(succeeded["response"])


def parse_object(text: str | None) -> dict[str, Any]:
    """The object that an answer says, unwrapped; an empty one where it says none."""
    try:
        value: object = read_answer(text) if text is not None else None
    except orjson.JSONDecodeError:
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
