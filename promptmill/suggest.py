"""Finds the name that a user probably meant."""

import difflib
from collections.abc import Iterable

_CUTOFF = 0.5  # the least likeness of a near name: 2 · equal characters / (characters of both)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to a mistyped name, or None when no name is close."""
    names = list(known)
    folded = {candidate.lower(): candidate for candidate in names}
    if len(name) * _CUTOFF > max(map(len, folded), default=0) * (2 - _CUTOFF):  # too long to be like any of them,
        return None  # and difflib would take 40 bytes for each of its characters before it says so
    matches = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=_CUTOFF)
    return folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence for an error message: the nearest name, or every known name when no name is near."""
    names = sorted(known)
    guess = nearest(name, names)
    return f"Did you mean {guess!r}?" if guess else f"Known names: {', '.join(names) or 'none'}."
