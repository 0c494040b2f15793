"""Warns that Prefect no longer does what we assume, once per process for each place."""

import logging
from functools import cache

import prefect

_log = logging.getLogger("promptmill")


@cache
def warn_of_change(assumption: str, consequence: str) -> None:
    """Log that an assumption failed, and the consequence for the user."""
    _log.warning(
        "Prefect %s differs from 3.8.8, for which Promptmill was written: %s. %s Install prefect 3.8.8, or a Promptmill "
        "that was made for yours.",
        prefect.__version__,
        assumption,
        consequence,
    )
