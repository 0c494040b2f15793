"""Prefect's warning that it couldn't keep a task's error as a result. For prefect 3.8.8, `exception_to_failed_state`.

A failed task's error is in its state. Prefect also tries to keep it as a result; our results are JSON, an error isn't, and
Prefect then warns as if something were lost. The same words tell of a result that really is lost, when the storage fails:
only the error among the record's arguments tells the two apart.
"""

import logging

from prefect.exceptions import SerializationError


def tells_of_unwritten_error(record: logging.LogRecord) -> bool:
    """Whether a log record only says that a value can't be kept as JSON."""
    return bool(record.args) and any(isinstance(argument, SerializationError) for argument in record.args)
