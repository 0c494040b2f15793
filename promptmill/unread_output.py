"""What a process does when nobody reads its output any more, as behind `| head`: it goes on and writes to nowhere.

Otherwise the next line raises BrokenPipeError wherever it is printed, in the middle of a run too, and a run that answered
every row ends with an error.
"""

import io
import os
import sys
from contextlib import suppress
from typing import Any, Protocol


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


def outlive_readers() -> None:
    """Let no print of this process fail because its output isn't read any more. Call this before the first print."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            stream.flush()
            kept = (stream.encoding, stream.errors)
            buffered = (stream.line_buffering, stream.write_through)
            lasting = _Lasting(stream.detach(), *kept, None, *buffered)
            setattr(sys, name, lasting)
            setattr(sys, f"__{name}__", lasting)


def send_to_nowhere(stream: _HasDescriptor) -> None:
    """Let a stream take everything from now on, and write it nowhere."""
    with suppress(OSError, ValueError):  # it is closed, or no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Lasting(io.TextIOWrapper):
    """Standard output or error that takes what it is given, whether somebody reads it or not."""

    def write(self, text: str, /) -> int:
        """Write a text; returns how many characters it took."""
        try:
            return super().write(text)
        except BrokenPipeError:
            send_to_nowhere(self)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            super().flush()
        except BrokenPipeError:
            send_to_nowhere(self)
            super().flush()

    def writelines(self, lines: Any, /) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)
