"""Log lines without the secrets of URLs and without what steers a terminal, whatever a line or its traceback quotes."""

import logging
import traceback

from promptmill.printable import printable
from promptmill.public_url import public_text


class SafeLines(logging.Filter):
    """Rewrites lines, and the tracebacks below them, so that anybody may read them on any terminal; drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record where it has to be."""
        text = record.getMessage()
        if (safe := _safe(text)) != text:
            record.msg, record.args = safe, ()
        if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None and record.exc_text is None:
            record.exc_text = _safe("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
        return True


def _safe(text: str) -> str:
    return printable(public_text(text))
