"""Recognizes the errors by which Prefect ends a flow that somebody stopped. For prefect 3.8.8, `prefect.exceptions`.

Both derive from BaseException and not from PrefectException. The command must know them without importing Prefect, which
takes most of a second: if nobody has imported Prefect yet, no error is one of Prefect's.
"""

import sys


def is_stop_signal(error: BaseException) -> bool:
    """Whether Prefect raised the error because of SIGTERM, or because somebody cancelled the flow run."""
    exceptions = sys.modules.get("prefect.exceptions")
    return exceptions is not None and isinstance(error, exceptions.TerminationSignal | exceptions.Abort)
