"""The operations of a template, each charged to the meter before it runs (template_meter.py).

Most operations make about as much as they read. Those that can make far more (`replace`, `join`, `indent`, `format` with
a width, …) have a function here that predicts their result; what can't be predicted isn't offered to templates.
"""

import functools
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

from promptmill.prompts.template_meter import (
    ELEMENT_UNITS,
    MAX_NUMBER_BITS,
    charge,
    charge_text,
    charge_value,
    checked_result,
)

_MAX_PRODUCT = 1_000_000  # characters or elements that `*` may make
_MAX_PRECISION = 400  # of `round`; a float has no more decimal places
_SPLIT_UNITS = 16  # for each character of a text that is split; its words take more memory than its characters
# tests and filters that take the same time for a value of any size
_CHEAP = {
    *("defined", "undefined", "none", "boolean", "false", "true", "integer", "float", "number", "string", "mapping"),
    *("iterable", "sequence", "callable", "sameas", "escaped", "filter", "test", "odd", "even", "divisibleby"),
    *("length", "count", "first", "default", "d", "safe", "select", "reject"),
}
_LISTING = frozenset({"list", "sort", "unique", "batch", "slice", "groupby", "join", "map", "min", "max"})
_SLOW = {"wordwrap": 50, "title": 10, "urlencode": 8, "striptags": 20, "tojson": 4}  # units a character, as measured
_JSON_DEPTH = 254  # orjson writes nothing that is nested deeper
_NUMBERS = re.compile(r"\d{1,18}")
_WIDTH_IN_ARGUMENT = re.compile(r"%[^a-zA-Z%]*\*|\{[^{}]*\{")


def metered(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or test that charges the meter for each call."""
    surcharge = _SLOW.get(name, 0) + (ELEMENT_UNITS if name in _LISTING else 0)

    def call(*args: Any, **kwargs: Any) -> Any:
        if name in _CHEAP:
            charge()
            return checked_result(function(*args, **kwargs))
        if name == "join":  # (context, value, …): a lazy value is read first, to know its length
            args = (*args[:1], _as_list(args[1]), *args[2:])
        for value in (*args, *kwargs.values()):
            charge_value(value)
            if surcharge and isinstance(value, str):
                charge(len(value) * surcharge)
        if name in _PREDICTED:
            predict, names = _PREDICTED[name]
            predict({**dict(zip(names, args, strict=False)), **kwargs}, args)
        return checked_result(function(*args, **kwargs))

    return functools.update_wrapper(call, function)


def charge_call(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Charge a call of a method, macro or global, and return its arguments. Raises: TemplateTooLarge."""
    owner = getattr(function, "__self__", None)
    for value in (owner, *args, *kwargs.values()):
        charge_value(value)
    if not isinstance(owner, str | bytes):
        return args
    name = getattr(function, "__name__", "")
    if name in {"split", "rsplit", "splitlines"}:
        charge(_SPLIT_UNITS * len(owner))
    if name == "join" and args:
        args = (_as_list(args[0]), *args[1:])
        _predict_join({"d": owner, "value": args[0]}, args)
    if name == "replace":
        _predict_replace({"s": owner, **dict(zip(("old", "new"), args, strict=False)), **kwargs}, args)
    return args


def charge_operator(operator: str, left: Any, right: Any) -> None:
    """Charge a binary operator. Raises: TemplateTooLarge, SecurityError."""
    charge_value(left)
    charge_value(right)
    if operator in {"*", "**"} and _size_of(operator, left, right) > _MAX_PRODUCT:
        raise SecurityError(f"{operator} would make more than {_MAX_PRODUCT:,} characters or elements; take less")
    if operator == "%" and isinstance(left, str | bytes):
        charge_format(left, right if isinstance(right, tuple) else (right,), {})


def charge_format(template: str | bytes, args: Any, kwargs: Mapping[str, Any]) -> None:
    """Charge `%` and `format`: each field may print the largest value, and each number may be a width."""
    text = template if isinstance(template, str) else template.decode("latin-1")
    if _WIDTH_IN_ARGUMENT.search(text):
        raise SecurityError("a format takes a width from its arguments; write the width as a number")
    largest = max((_printed(value) for value in (*args, *kwargs.values())), default=0)
    widths = sum(int(number) for number in _NUMBERS.findall(text))
    charge_text(len(text) + widths + largest * (text.count("%") + text.count("{")))


def _printed(value: Any) -> int:
    """About how many characters a value prints at most."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, int | float):
        return 400
    return (
        0 if isinstance(value, Undefined) else len(str(value))
    )  # a list or mapping was charged before, with everything inside it


def _size_of(operator: str, left: Any, right: Any) -> int:
    """How large the result of a product or power would be, in characters or elements; more than allowed if too large."""
    if isinstance(left, int) and isinstance(right, int):
        bits = abs(left).bit_length() * (abs(right) if operator == "**" else 1) + abs(right).bit_length()
        return bits if bits <= MAX_NUMBER_BITS else _MAX_PRODUCT + 1
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, str | bytes | list | tuple) and isinstance(times, int):
            return len(cast(Any, sequence)) * max(times, 1)
    return 0


def _as_list(value: Any) -> Any:
    return list(value) if hasattr(value, "__next__") else value


def _predict_replace(given: Mapping[str, Any], args: tuple[Any, ...]) -> None:
    text, old, new = (given.get(name, "") for name in ("s", "old", "new"))
    if not isinstance(text, bytes):
        text, old, new = str(text), str(old), str(new)
    charge_text(len(text) + text.count(cast(Any, old)) * len(new))


def _predict_join(given: Mapping[str, Any], args: tuple[Any, ...]) -> None:
    separator, elements = given.get("d", ""), given["value"]
    width = len(separator) if isinstance(separator, str | bytes) else 0
    if hasattr(elements, "__len__"):
        charge_text(len(elements) * width + sum(len(text) for text in elements if isinstance(text, str | bytes)))


def _predict_indent(given: Mapping[str, Any], args: tuple[Any, ...]) -> None:
    text, width = str(given["s"]), given.get("width", 4)
    charge_text(len(text) + (len(text.splitlines()) + 1) * (width if isinstance(width, int) else len(str(width))))


def _predict_format(given: Mapping[str, Any], args: tuple[Any, ...]) -> None:
    values = {name: value for name, value in given.items() if name != "value"}
    charge_format(str(args[0]), args[1:], values)


def _predict_wordwrap(given: Mapping[str, Any], args: tuple[Any, ...]) -> None:
    text, width, between = str(given["s"]), given.get("width", 79), str(given.get("wrapstring") or "\n")
    lines = 2 * len(text) // max(1, int(width)) + len(text.splitlines()) + 1
    charge_text(len(text) + lines * len(between))


def _predict_groups(given: Mapping[str, Any], args: tuple[Any, ...]) -> None:
    """Filters `batch` and `slice`, which can make as many elements as their number says."""
    charge(ELEMENT_UNITS * abs(int(given.get("count") or given.get("linecount") or given.get("slices") or 0)))


def _predict_round(given: Mapping[str, Any], args: tuple[Any, ...]) -> None:
    precision = given.get("precision", 0)
    if isinstance(precision, int) and abs(precision) > _MAX_PRECISION:
        raise SecurityError(f"round has precision {precision}; the limit is {_MAX_PRECISION}. Take a smaller one")


def _predict_sum(given: Mapping[str, Any], args: tuple[Any, ...]) -> None:
    if not isinstance(given.get("start", 0), int | float | Decimal):
        raise SecurityError("sum starts with a value that isn't a number; it adds numbers only. Use join for texts")


def _predict_json(given: Mapping[str, Any], args: tuple[Any, ...]) -> None:
    """With an indent, each element may stand on a line of its own, as far to the right as it is deep."""
    if given.get("indent"):
        charge_text(_indented(given["value"], depth=1))


def _indented(value: Any, depth: int) -> int:
    if depth > _JSON_DEPTH or not isinstance(value, list | tuple | dict):
        return 0
    inner: Any = cast(Any, value).values() if isinstance(value, dict) else value
    return 2 * depth * (len(inner) + 1) + sum(_indented(element, depth + 1) for element in inner)


_Predict = Callable[[Mapping[str, Any], tuple[Any, ...]], None]
_PREDICTED: dict[str, tuple[_Predict, tuple[str, ...]]] = {  # with the names of the arguments, in their order
    "replace": (_predict_replace, ("context", "s", "old", "new")),
    "join": (_predict_join, ("context", "value", "d")),
    "indent": (_predict_indent, ("s", "width")),
    "format": (_predict_format, ("value",)),
    "wordwrap": (_predict_wordwrap, ("environment", "s", "width", "break_long_words", "wrapstring")),
    "batch": (_predict_groups, ("value", "count")),
    "slice": (_predict_groups, ("context", "value", "count")),
    "round": (_predict_round, ("value", "precision")),
    "sum": (_predict_sum, ("environment", "iterable", "attribute", "start")),
    "tojson": (_predict_json, ("value", "indent")),
}
