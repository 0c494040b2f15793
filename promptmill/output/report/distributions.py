"""How the answers of each column are distributed: how often each value came, or where the numbers lie.

However many rows there are, a column keeps the counts of a thousand values and a sample of its numbers, drawn at random
with a fixed seed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import cast

import numpy as np

from promptmill.number_words import compact, count, percent
from promptmill.shorten import shorten

_MOST_VALUES = 1_000  # told apart; with more of them the values are free texts
_SHOWN_VALUES = 8
_VALUE_CHARACTERS = 60
_KEPT_NUMBERS = 5_000
_BARS = 8
_FEW_NUMBERS = 8  # so few different numbers are labels, such as ratings
_LARGEST = 1e300
_SEED = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """A value or a range of numbers, and how many answers have it."""

    label: str
    rows: str
    width: float  # per cent of the longest bar


@dataclass(frozen=True, slots=True)
class Distribution:
    """The answers of one column in words and bars."""

    column: str
    told: str
    bars: tuple[Bar, ...]


class Values:
    """The answers of one column; the elements of a list count each."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._counts = Counter[str]()
        self._is_more = False  # than the values told apart
        self._numbers: list[float] = []
        self._seen_numbers = self._texts = self._nulls = self._rows = 0
        self._range = (float("inf"), float("-inf"))
        self._total = 0.0
        self._random = Random(_SEED)

    def add(self, value: object) -> None:
        """Count one answer."""
        self._rows += 1
        if isinstance(value, list):
            for element in cast(list[object], value):
                self._add_one(element)
        else:
            self._add_one(value)

    def _add_one(self, value: object) -> None:
        if value is None:
            self._nulls += 1
        elif not isinstance(value, str) and (number := _number(value)) is not None:
            self._add_number(number)
        else:
            self._texts += 1
            if not self._is_more:  # then nothing of the counts is shown
                self._count(str(value).lower() if isinstance(value, bool) else _text(value))

    def _add_number(self, value: float) -> None:
        self._seen_numbers += 1
        self._total += value
        self._range = min(self._range[0], value), max(self._range[1], value)
        if len(self._numbers) < _KEPT_NUMBERS:
            self._numbers.append(value)
        elif (place := self._random.randrange(self._seen_numbers)) < _KEPT_NUMBERS:
            self._numbers[place] = value
        if not self._is_more:
            self._count(f"{value:g}")

    def _count(self, label: str) -> None:
        if label in self._counts or len(self._counts) < _MOST_VALUES:
            self._counts[label] += 1
        else:
            self._is_more = True

    @property
    def distribution(self) -> Distribution | None:
        """The column's distribution; None without any answer."""
        if not self._rows:
            return None
        nulls = f", {count(self._nulls)} null" if self._nulls else ""
        are_numbers = self._seen_numbers and not self._texts and len(self._counts) > _FEW_NUMBERS
        told, bars = self._of_numbers() if are_numbers else self._of_values()
        return Distribution(self._column, f"{told}{nulls}", bars)

    def _of_numbers(self) -> tuple[str, tuple[Bar, ...]]:
        low, high = self._range
        counts, edges = np.histogram(np.array(self._numbers), _BARS, (low, high) if high > low else (low, low + 1))
        share = self._seen_numbers / len(self._numbers)
        told = f"{compact(low)} to {compact(high)}, {compact(self._total / self._seen_numbers)} on average"
        named = [
            (f"{compact(float(left))} to {compact(float(right))}", float(number) * share)
            for left, right, number in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
        return told, _bars(named)

    def _of_values(self) -> tuple[str, tuple[Bar, ...]]:
        counted, all_values = self._counts.most_common(), sum(self._counts.values())
        different = f"{'more than ' if self._is_more else ''}{count(len(counted))} different values"
        if self._is_more or len(counted) > max(_SHOWN_VALUES * 4, all_values // 2):
            return f"{different}: free text", ()
        rest = sum(times for _, times in counted[_SHOWN_VALUES:])
        others = [(f"{count(len(counted) - _SHOWN_VALUES)} others", float(rest))] if rest else []
        shown = [(label or "(empty)", float(times)) for label, times in counted[:_SHOWN_VALUES]]
        most = f", {percent(counted[0][1] / all_values)} of them {shown[0][0]}" if counted else ""
        return f"{different}{most}", _bars([*shown, *others])


class Distributions:
    """The answers of each property of a response schema."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        """`columns`: property → its column."""
        self._values = {name: Values(column) for name, column in columns.items()}

    def add(self, answers: Sequence[Mapping[str, object]]) -> None:
        """Count answers, as parsed."""
        for answer in answers:
            for name, values in self._values.items():
                values.add(answer.get(name))

    @property
    def shown(self) -> list[Distribution]:
        """A distribution for each column that has answers."""
        found = (values.distribution for values in self._values.values())
        return [distribution for distribution in found if distribution is not None]


def _number(value: object) -> float | None:
    """A value as a number that can be drawn; None for others, and for what is beyond a float's range."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _LARGEST:
        return None
    return float(value) if abs(value) > 1 / _LARGEST else 0.0


def _text(value: object) -> str:
    return "an object" if isinstance(value, dict | list) else shorten(str(value), _VALUE_CHARACTERS)


def _bars(named: Sequence[tuple[str, float]]) -> tuple[Bar, ...]:
    longest = max((number for _, number in named), default=0.0) or 1.0
    return tuple(Bar(label, count(number), round(100 * number / longest, 1)) for label, number in named)
