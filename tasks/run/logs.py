"""Logs of a run as a person wants them: our own lines shown, expected errors without a traceback."""

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import SerializationError
from prefect.logging.handlers import APILogHandler

from promptmill.errors import PromptmillError


class _WithoutTraceback(logging.Filter):
    """An error whose message says all there is to say needs no traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, PromptmillError):
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
        return True


class _WithoutUnwritten(logging.Filter):
    """An error of a task is in its state; Prefect also warns of each that it can't be kept as JSON, as if it were lost."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.args and any(isinstance(one, SerializationError) for one in record.args))


class _RunLog(APILogHandler):
    """Sends our lines to the run they belong to; outside of one there is nobody to send them to."""

    def emit(self, record: logging.LogRecord) -> None:
        if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
            super().emit(record)


_FILTERS = (_WithoutTraceback(), _WithoutUnwritten())


def quiet_expected_errors() -> None:
    """Drop tracebacks of our own errors from Prefect's logs, and send our lines to the run's log; once a process."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        for one in _FILTERS:
            logging.getLogger(name).addFilter(one)
    ours = logging.getLogger("promptmill")
    if not any(isinstance(handler, _RunLog) for handler in ours.handlers):
        ours.addHandler(_RunLog())
        ours.setLevel(logging.INFO)
