"""How long a command in a terminal says nothing: until its first line, and at the longest afterwards."""

import contextlib
import os
import pty
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Heard:
    """Seconds of silence of one command."""

    first: float  # until it said something
    longest: float  # between two things that it said, or until its end


def listen(words: Sequence[str], environment: Mapping[str, str]) -> Heard:
    """Run a command in a terminal of its own. Raises: SystemExit if it fails."""
    ours, theirs = pty.openpty()
    started = time.monotonic()
    command = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(environment))
    os.close(theirs)
    said, pieces = [started], list[bytes]()
    with contextlib.suppress(OSError):  # the terminal is gone with its last process
        while piece := os.read(ours, _READ_BYTES):
            pieces.append(piece)
            said.append(time.monotonic())
    os.close(ours)
    if (code := command.wait()) != 0:
        raise SystemExit(f"{words} ended with {code}: {b''.join(pieces).decode(errors='replace')}")
    said.append(time.monotonic())
    silences = [later - earlier for earlier, later in pairwise(said)]
    return Heard(silences[0], max(silences[1:]))
