"""The keywords of a strict schema that look at one value and not into it, each as a function of value and budget.

Messages are those of the package `jsonschema`, but quote a long value by its beginning.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, cast

import orjson

from promptmill.prompts.faults import Budget, Fault, Rule, show
from promptmill.prompts.patterns import Pattern

_EXACT_END = 2.0**64  # whole numbers below it are compared as integers


def value_rules(schema: Mapping[str, Any]) -> list[Rule]:
    """The rules of the keywords of a schema that look at the value alone, apart from `pattern`."""
    return [make(schema[word]) for word, make in _KEYWORDS.items() if word in schema]


def _type(kinds: Any) -> Rule:
    wanted = [kinds] if isinstance(kinds, str) else list(kinds)
    tests = [_TYPES[kind] for kind in wanted]

    def check(value: Any, budget: Budget) -> Fault | None:
        for test in tests:  # `any` takes as long as three tests
            if test(value):
                return None
        return Fault(f"{show(value)} is not of type {', '.join(map(repr, wanted))}", is_of_kind=True)

    return check


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": _is_number,
    "integer": lambda v: _is_number(v) and (isinstance(v, int) or v.is_integer()),
}


def _enum(values: Any) -> Rule:
    allowed = {_key(value, None) for value in values}
    texts = frozenset(value for value in values if isinstance(value, str))
    listed = repr(values[:20])

    def check(value: Any, budget: Budget) -> Fault | None:
        if isinstance(value, str):  # as most are
            budget.charge()
            if value in texts:
                return None
        elif _key(value, budget) in allowed:
            return None
        return Fault(f"{show(value)} is not one of {listed}")

    return check


def _const(constant: Any) -> Rule:
    wanted = _key(constant, None)

    def check(value: Any, budget: Budget) -> Fault | None:
        return None if _key(value, budget) == wanted else Fault(f"{show(constant)} was expected", is_of_kind=True)

    return check


def _unique(is_wanted: Any) -> Rule:
    def check(value: Any, budget: Budget) -> Fault | None:
        if not is_wanted or not isinstance(value, list):
            return None
        elements = cast(list[Any], value)
        if len({_key(element, budget) for element in elements}) == len(elements):
            return None
        return Fault(f"{show(elements)} has non-unique elements")

    return check


def _key(value: Any, budget: Budget | None) -> object:
    """What equal values have in common and others don't: 1 equals 1.0, and not true.

    A list or object is its JSON as bytes, since the hash of a tuple of numbers can be guessed, and equal hashes be made.
    """
    if isinstance(value, list | dict):
        return orjson.dumps(_plain(value, budget), option=orjson.OPT_SORT_KEYS)
    if budget is not None:
        budget.charge()
    return (isinstance(value, bool), _plain(value, None))


def _plain(value: Any, budget: Budget | None) -> Any:
    """The value with its whole numbers as integers."""
    if budget is not None:
        budget.charge()
    if isinstance(value, list):
        return [_plain(element, budget) for element in cast(list[Any], value)]
    if isinstance(value, dict):
        return {name: _plain(inner, budget) for name, inner in cast(dict[str, Any], value).items()}
    is_whole = isinstance(value, float) and value.is_integer() and -_EXACT_END / 2 <= value < _EXACT_END
    return int(value) if is_whole else value


def pattern_rule(pattern: Pattern) -> Rule:
    """The rule of `pattern`."""

    def check(value: Any, budget: Budget) -> Fault | None:
        if not isinstance(value, str):
            return None
        budget.charge(pattern.steps(value))
        return None if pattern.matches(value) else Fault(f"{show(value)} does not match {pattern.source!r}")

    return check


def _multiple_of(divisor: Any) -> Rule:
    def check(value: Any, budget: Budget) -> Fault | None:
        if not _is_number(value) or _is_multiple(value, divisor):
            return None
        return Fault(f"{show(value)} is not a multiple of {divisor}")

    return check


def _is_multiple(value: Any, divisor: Any) -> bool:
    if not isinstance(divisor, float):
        return not value % divisor
    try:
        quotient = value / divisor
        return int(quotient) == quotient
    except OverflowError:
        return (Fraction(value) / Fraction(divisor)).denominator == 1


def _bound(keeps: Callable[[Any, Any], bool], words: str) -> Callable[[Any], Rule]:
    """The rule of a bound on a number; `words` say what a value beyond it is."""

    def make(bound: Any) -> Rule:
        def check(value: Any, budget: Budget) -> Fault | None:
            if not _is_number(value) or keeps(value, bound):
                return None
            return Fault(f"{show(value)} is {words} of {bound!r}")

        return check

    return make


def _size(kind: type, keeps: Callable[[Any, Any], bool], words: str) -> Callable[[Any], Rule]:
    """The rule of a bound on the size of a text, list or object."""

    def make(bound: Any) -> Rule:
        def check(value: Any, budget: Budget) -> Fault | None:
            if not isinstance(value, kind) or keeps(len(value), bound):
                return None
            return Fault(f"{show(value)} {words}")

        return check

    return make


def _at_least(value: Any, bound: Any) -> bool:
    return value >= bound


def _at_most(value: Any, bound: Any) -> bool:
    return value <= bound


_KEYWORDS: dict[str, Callable[[Any], Rule]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minimum": _bound(_at_least, "less than the minimum"),
    "maximum": _bound(_at_most, "greater than the maximum"),
    "exclusiveMinimum": _bound(lambda v, b: v > b, "less than or equal to the minimum"),
    "exclusiveMaximum": _bound(lambda v, b: v < b, "greater than or equal to the maximum"),
    "multipleOf": _multiple_of,
    "minLength": _size(str, _at_least, "is too short"),
    "maxLength": _size(str, _at_most, "is too long"),
    "minItems": _size(list, _at_least, "is too short"),
    "maxItems": _size(list, _at_most, "is too long"),
    "minProperties": _size(dict, _at_least, "does not have enough properties"),
    "maxProperties": _size(dict, _at_most, "has too many properties"),
    "uniqueItems": _unique,
}
