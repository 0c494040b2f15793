"""Makes a run's logs readable: shows our own lines, and expected errors without a traceback."""

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from promptmill.errors import PromptmillError
from promptmill.safe_log import SafeLines
from tasks.prefect_internals.log_reader import outlive_log_reader
from tasks.prefect_internals.unwritten_errors import tells_of_unwritten_error


class _WithoutTraceback(logging.Filter):
    """Drops the traceback of our own errors, because their message says everything."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, PromptmillError):
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
        return True


class _WithoutUnwrittenErrors(logging.Filter):
    """Drops Prefect's warning that it couldn't keep a task's error as a result: the error is in the task's state."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not tells_of_unwritten_error(record)


class _RunLog(APILogHandler):
    """Sends our lines to the log of the run that wrote them; outside of a run it sends nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
            super().emit(record)


_FILTERS = (_WithoutTraceback(), _WithoutUnwrittenErrors(), SafeLines())


def quiet_expected_errors() -> None:
    """Drop tracebacks of our own errors and secrets from Prefect's logs, and send our lines to the run's log.

    The process also goes on if nobody reads its console log any more. A second call in the same process changes nothing.
    """
    outlive_log_reader()
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        for kind in _FILTERS:
            logging.getLogger(name).addFilter(kind)
    ours = logging.getLogger("promptmill")
    if not any(isinstance(handler, _RunLog) for handler in ours.handlers):
        ours.addHandler(_RunLog())
        ours.setLevel(logging.INFO)
