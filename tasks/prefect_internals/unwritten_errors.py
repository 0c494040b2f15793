"""Recognizes Prefect's warning that it couldn't keep a task's error. For prefect 3.8.8, `exception_to_failed_state`.

A failed task's state has its error. Prefect also tries to keep the error as a result. Our results are JSON, an error isn't,
and so Prefect warns as if something were lost. If the storage fails and a result is really lost, the warning has the same
words: only the error among the record's arguments tells the two apart.
"""

import logging

from prefect.exceptions import SerializationError


def tells_of_unwritten_error(record: logging.LogRecord) -> bool:
    """Whether a log record only says that a value can't be kept as JSON."""
    return bool(record.args) and any(isinstance(argument, SerializationError) for argument in record.args)
