"""How the answers of each column are distributed: how often each value came, or where the numbers lie.

However many rows there are, a column keeps the counts of a thousand values and a sample of its numbers, drawn at random
with a fixed seed.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np

from promptmill.number_words import compact, count, percent
from promptmill.output.parsed_answers import ParsedAnswers
from promptmill.output.report.histograms import Floats
from promptmill.shorten import shorten

_MOST_VALUES = 1_000  # told apart; with more of them the values are free texts
_SHOWN_VALUES = 8
_VALUE_CHARACTERS = 60
_KEPT_NUMBERS = 5_000
_BARS = 8
_FEW_NUMBERS = 8  # so few different numbers are labels, such as ratings
_LARGEST = 1e300
_SEED = 20
_NUMBERS = frozenset({int, float, type(None)})
_Value = TypeVar("_Value", bound=Hashable)


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
        self._numbers = np.empty(0)
        self._seen_numbers = self._texts = self._nulls = self._rows = 0
        self._range = (float("inf"), float("-inf"))
        self._total = 0.0
        self._random = np.random.default_rng(_SEED)  # which numbers stay in the sample

    def add(self, value: object) -> None:
        """Count one answer."""
        self.add_all([value])

    def add_all(self, values: Sequence[object]) -> None:
        """Count answers; what is done for each of many costs little."""
        self._rows += len(values)
        kinds = {*map(type, values)}
        if list in kinds:
            values = [*chain.from_iterable(value if isinstance(value, list) else (value,) for value in values)]
            kinds = {*map(type, values)}
        told = [value for value in values if value is not None] if type(None) in kinds else values
        self._nulls += len(values) - len(told)
        numbers = _all_numbers(told) if kinds <= _NUMBERS else None
        if numbers is not None:
            self._add_numbers(numbers)
            self._count(numbers.tolist(), _number_label)
        elif kinds <= {str, type(None)}:
            self._texts += len(told)
            self._count(told, _text)
        else:
            self._add_mixed(told)

    def _add_mixed(self, values: Sequence[object]) -> None:
        """Count values of several types, none of them null."""
        found = [None if isinstance(value, str) else _number(value) for value in values]
        numbers = [number for number in found if number is not None]
        self._add_numbers(np.array(numbers))
        self._texts += len(values) - len(numbers)
        pairs = zip(values, found, strict=True)
        self._count([_label(value) if number is None else _number_label(number) for value, number in pairs], str)

    def _add_numbers(self, values: Floats) -> None:
        """Keep a sample of all numbers so far, in which each of them has the same chance to be."""
        if not len(values):
            return
        self._total += float(values.sum())
        self._range = min(self._range[0], float(values.min())), max(self._range[1], float(values.max()))
        seen = self._seen_numbers + 1 + np.arange(len(values))
        self._seen_numbers += len(values)
        room = _KEPT_NUMBERS - len(self._numbers)
        self._numbers = np.concatenate([self._numbers, values[:room]])
        if len(values) > room:
            places = self._random.integers(0, seen[room:])
            kept = places < _KEPT_NUMBERS
            self._numbers[places[kept]] = values[room:][kept]

    def _count(self, values: Sequence[_Value], label: Callable[[_Value], str]) -> None:
        """Count labels until there are too many: then nothing of them is shown."""
        for value, times in Counter(values).items() if not self._is_more else ():
            name = label(value)
            if name not in self._counts and len(self._counts) >= _MOST_VALUES:
                self._is_more = True
                return
            self._counts[name] += times

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
        counts, edges = np.histogram(self._numbers, _BARS, (low, high) if high > low else (low, low + 1))
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

    def add(self, answers: ParsedAnswers) -> None:
        """Count answers."""
        for name, values in self._values.items():
            values.add_all(answers.values(name))

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


def _all_numbers(values: Sequence[object]) -> Floats | None:
    """Integers and floats as `_number` gives each; None where it gives none for one of them."""
    try:
        found = np.array(values, np.float64)
    except OverflowError:
        return None
    sizes = np.abs(found)
    return np.where(sizes > 1 / _LARGEST, found, 0.0) if (sizes < _LARGEST).all() else None


def _number_label(value: float) -> str:
    return f"{value:g}"


def _label(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else _text(value)


def _text(value: object) -> str:
    return "an object" if isinstance(value, dict | list) else shorten(str(value), _VALUE_CHARACTERS)


def _bars(named: Sequence[tuple[str, float]]) -> tuple[Bar, ...]:
    longest = max((number for _, number in named), default=0.0) or 1.0
    return tuple(Bar(label, count(number), round(100 * number / longest, 1)) for label, number in named)
