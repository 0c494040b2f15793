"""Tells whether Prefect made up the name of a run, or somebody gave it. For prefect 3.8.8.

The server names a run by two words of the package `coolname` (`prefect.utilities.names.generate_slug`), such as
"meek-loon". The newer UI fills "Rustic-Alpaca" into the form of a new run, by words of the JavaScript package `falso`, read
in the UI's bundle on 2026-11-27. No documented API tells such a name from a person's.
"""

import re
from functools import cache
from typing import Any, cast

from tasks.prefect_internals.changes import warn_of_change

BY_THE_UI = (
    "Awesome",
    "Rustic",
    "Small",
    "Gorgeous",
    "Fantastic",
    "Sleek",
    "Intelligent",
    "Unbranded",
    "Refined",
    "Licensed",
    "Generic",
    "Practical",
    "Ergonomic",
    "Handcrafted",
    "Tasty",
    "Handmade",
    "Incredible",
)  # first words; a short animal follows
_ANIMAL = re.compile(r"[A-Z].{1,5}")
_LAST = ("animal", "animal_breed", "animal_legendary")  # coolname's lists of last words


def is_made_up(name: str) -> bool:
    """Whether nobody gave a run its name."""
    first, _, last = name.partition("-")
    words, last_words = _words()
    is_by_the_ui = first in BY_THE_UI and _ANIMAL.fullmatch(last) is not None
    return is_by_the_ui or (first in words and last in last_words)


@cache
def _words() -> tuple[frozenset[str], frozenset[str]]:
    """The words of the server's names: all words, and the words that may be last."""
    try:
        from coolname.data import config

        lists = {name: _list(values) for name, values in cast(dict[str, dict[str, Any]], config).items()}
        return frozenset(word for words in lists.values() for word in words), frozenset(
            word for name in _LAST for word in lists[name]
        )
    except (ImportError, AttributeError, KeyError, TypeError):
        warn_of_change(
            "the words of its names of runs are no longer where they were", "Runs keep the names it makes up."
        )
        return frozenset(), frozenset()


def _list(values: dict[str, Any]) -> list[str]:
    return values["words"] if values["type"] == "words" else []
