"""How many examples a property is tried with: all of them in `make test`, a tenth in `make test-fast`.

`make test-fast` is for the minutes between two edits; it looks at every property, `make test` looks long.
"""

import os

_FEWEST = 5
_DEFAULT = 100  # Hypothesis's own
_IS_FAST = os.environ.get("PROMPTMILL_TEST_FAST") == "1"
_LONGER = os.environ.get("PROMPTMILL_TEST_EXAMPLES")


def examples(count: int = _DEFAULT) -> int:
    """The number of examples of a property that `make test` tries with `count`."""
    return max(count // 10, min(count, _FEWEST)) if _IS_FAST else count


def examples_or_longer(count: int) -> int:
    """The same, for a property that is worth a longer look: PROMPTMILL_TEST_EXAMPLES says how long."""
    return examples(count) if _LONGER is None else int(_LONGER)
