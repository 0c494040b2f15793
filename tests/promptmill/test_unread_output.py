"""A command whose output nobody reads any more goes on, and its exit code tells of its work alone."""

import os
import subprocess
import sys
from inspect import cleandoc

import pytest

from tests.support.paths import ROOT

PRINTS = """
    import sys
    from promptmill.unread_output import outlive_readers
    outlive_readers()
    outlive_readers()
    for number in range(20_000):
        print("line", number, file=sys.stdout if number % 2 else sys.stderr)
    sys.stdout.flush()
    open(sys.argv[1], "w").write("done")
"""


def unread(*words: str, closed: str) -> int:
    """The exit code of a Python whose output or errors nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, closed: writer}
    ended = subprocess.run([sys.executable, *words], cwd=ROOT, check=False, **streams)  # pyright: ignore
    os.close(writer)
    return ended.returncode


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_process_does_its_work_to_the_end_while_nobody_reads(closed: str, tmp_path):
    code = unread("-c", cleandoc(PRINTS), str(tmp_path / "done"), closed=closed)

    assert (tmp_path / "done").read_text() == "done"
    assert code == 0


def test_a_command_that_nobody_reads_succeeds():
    assert unread("-m", "promptmill", "schema", closed="stdout") == 0


def test_what_is_printed_is_read_as_before():
    code = "from promptmill.unread_output import outlive_readers; outlive_readers(); print('é', flush=True); print('ü')"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)

    assert ended.stdout.decode() == "é\nü\n"
    assert ended.stderr == b""
