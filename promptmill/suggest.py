"""Finds the name that a user probably meant."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to a mistyped name, or None when no name is close."""
    names = list(known)
    folded = {candidate.lower(): candidate for candidate in names}
    matches = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.5)
    return folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence for an error message: the nearest name, or every known name when no name is near."""
    names = sorted(known)
    guess = nearest(name, names)
    return f"Did you mean {guess!r}?" if guess else f"Known names: {', '.join(names) or 'none'}."
