"""Records that each row makes several of: frozen for the type checker, and not checked again while they are made.

A frozen dataclass sets each field by a call, which took a tenth of the event loop's time for a row.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(kind: type[T]) -> type[T]:
    """A dataclass with slots, equal and hashed by its fields. Nobody may set a field afterwards: pyright refuses it."""
    return dataclass(slots=True, unsafe_hash=True)(kind)
