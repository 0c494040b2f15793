"""How much work one rendering may take, and the account of it: no template can hold a process or fill its memory.

Every operation of a template is charged before it runs, by the size of what it reads and of what it will make, in units of
about a character. So a limit on the sum bounds time and memory together, and gives the same result on every machine; a
deadline would not, and can't interrupt the C code of one long operation.
"""

import threading
from collections.abc import Iterator
from types import GeneratorType
from typing import Any, cast

from jinja2 import nodes
from jinja2.exceptions import SecurityError

_MAX_TEXT = 1 << 24  # characters of a rendered text, and of every text that a template makes on the way
_MAX_STEPS = 1 << 20  # rounds of loops, calls and operations of one rendering
MAX_NUMBER_BITS = 14_000  # Python prints no number above 4,300 digits
STEP_UNITS = 64
ELEMENT_UNITS = 16  # of a list or mapping: an element takes longer than a character
_CONTAINERS = (list, tuple, dict, type({}.keys()), type({}.values()), type({}.items()))


_MEASURED = (*_CONTAINERS, int, range)


class TemplateTooLarge(SecurityError):
    """A rendering takes more steps, or makes more text, than it may."""


class _Meter(threading.local):
    is_running = False
    left = 0  # units


_METER = _Meter()


def start_meter() -> None:
    """Give this thread's next rendering its full allowance."""
    _METER.is_running = True
    _METER.left = _MAX_STEPS * STEP_UNITS


def stop_meter() -> None:
    """Refuse operations until the next rendering: Jinja2 would otherwise run them while it compiles a template."""
    _METER.is_running = False


def charge(units: int = 0) -> None:
    """Charge a step and some units. Raises: TemplateTooLarge; Impossible, which Jinja2 expects, while it compiles."""
    if not _METER.is_running:
        raise nodes.Impossible
    _METER.left -= STEP_UNITS + units
    if _METER.left < 0:
        raise TemplateTooLarge(
            f"the rendering takes more than {_MAX_STEPS:,} steps (rounds of loops, calls, and texts handled). Simplify the "
            "template, or give it shorter values"
        )


def charge_text(characters: int) -> None:
    """Charge a text that is about to be made. Raises: TemplateTooLarge."""
    if characters > _MAX_TEXT:
        raise TemplateTooLarge(
            f"the template makes a text of {characters:,} characters; the limit is {_MAX_TEXT:,}. Shorten it"
        )
    charge(characters)


def charge_value(value: object) -> None:
    """Charge the reading of a value, with everything inside it. Raises: TemplateTooLarge."""
    if isinstance(value, str | bytes):
        charge(len(value))
    elif isinstance(value, _MEASURED):
        charge(_weigh(cast(object, value), _METER.left))
    else:
        charge()


def checked_result(value: Any) -> Any:
    """The result of an operation, charged; a lazy one is charged as it is read. Raises: TemplateTooLarge."""
    if isinstance(value, str | bytes):
        charge_text(len(value))
    elif isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
        raise TemplateTooLarge(f"the template makes a number of {value.bit_length():,} bits; take smaller ones")
    elif isinstance(value, _CONTAINERS):
        charge_value(cast(object, value))
    elif isinstance(value, GeneratorType) or hasattr(type(value), "__next__"):  # pyright: ignore[reportUnknownArgumentType]
        return _charged_on_the_way(cast(Iterator[Any], value))
    return value


def _charged_on_the_way(elements: Iterator[Any]) -> Iterator[Any]:
    for element in elements:
        charge()
        yield element


def _weigh(value: object, most: int) -> int:
    """The size of a value in units; a list that stands in it twice counts twice. Stops once it is above `most`."""
    weight = 0
    left: list[Any] = [value]
    while left and weight <= most:
        inner = left.pop()
        if isinstance(inner, str | bytes):
            weight += len(inner)
        elif isinstance(inner, dict):
            weight += 2 * ELEMENT_UNITS * len(cast(dict[Any, Any], inner))
            left += _short(cast(dict[Any, Any], inner), most)
            left += _short(cast(dict[Any, Any], inner).values(), most)
        elif isinstance(inner, _CONTAINERS):
            weight += ELEMENT_UNITS * len(inner)
            left += _short(inner, most)
        elif isinstance(inner, range):
            weight += len(inner)
        elif isinstance(inner, int):
            weight += inner.bit_length() >> 3
    return weight


def _short(elements: Any, most: int) -> Any:
    """The elements, unless they alone are too many: then there is no need to look into them."""
    return elements if ELEMENT_UNITS * len(elements) <= most else ()
