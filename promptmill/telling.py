"""How long work in a thread says how far it is, and is ended: it calls a function with the rows done so far."""

from collections.abc import Callable

Tell = Callable[[int], None]  # what it raises ends the work


def tell_nobody(rows: int) -> None:
    """Let the work go on; nobody wants to know."""
    del rows
