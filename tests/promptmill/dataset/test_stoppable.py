"""A CSV file that is given up early leaves no thread of Arrow's behind that would hold or abort the process."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

_ROWS = b"".join(b"%d,some text of row %d\n" % (number, number) for number in range(50_000))


def give_up_early(path: str) -> None:
    """Read the beginning of a file several times, and forget the rest; for a process of its own."""
    from promptmill.dataset.dataset import open_dataset
    from promptmill.errors import DatasetError
    from promptmill.job.spec import Input

    for _ in range(8):
        try:
            next(open_dataset(Input.model_validate({"url": path})).read(10, stop=10))
        except DatasetError:
            continue


@pytest.mark.parametrize(
    "start", [pytest.param(b"id,text\n1,2,3\n", id="wrong-row"), pytest.param(b"id,text\n", id="limit")]
)
def test_process_ends_after_a_csv_file_is_given_up_early(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(start + _ROWS * 5, compresslevel=1))
    program = f"from {__name__} import give_up_early; give_up_early({str(path)!r})"
    command = [sys.executable, "-c", program]

    # more processes than cores, since Arrow's threads were late on busy machines only
    runs = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(4)]

    assert [(run.communicate(timeout=60)[1], run.returncode) for run in runs] == [(b"", 0)] * 4
