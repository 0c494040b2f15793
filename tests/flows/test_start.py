"""The command imports what it needs when it needs it: the help and a mistake are told at once."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from promptmill.simulator import Simulator
from tests.support.commands import write_job
from tests.support.jobs import MakeJob
from tests.support.paths import ROOT

HEAVY = ("prefect", "openai", "pandas", "matplotlib")
PROBE = """
import sys
from flows.__main__ import main
try:
    main()
except SystemExit as ended:
    print("ended with", ended.code or 0)
print("loaded:", *(name for name in sys.argv.pop().split(",") if name in sys.modules))
"""


def loaded(*words: str | Path, base_url: str, heavy: tuple[str, ...] = HEAVY) -> list[str]:
    """What the command said at its end, and which of the heavy modules it has imported."""
    code = PROBE.replace("sys.argv.pop()", repr(",".join(heavy)))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with TemporaryDirectory() as home:  # no Prefect has ever used
        found = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            env={**environment, "OPENAI_API_KEY": "test", "OPENAI_BASE_URL": base_url, "PREFECT_HOME": home},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    return found.stdout.splitlines()[-2:]


FIRST_LINE = """
import os, sys
needed = sys.argv.pop().split(",")
class Told:
    def write(self, text):
        if text.strip():
            loaded = [name for name in needed if name in sys.modules]
            os.write(1, f"{text.strip()}; loaded: {loaded}".encode())
            os._exit(0)
    def flush(self): pass
    def isatty(self): return False
sys.stderr = Told()
from flows.__main__ import main
main()
"""


@pytest.mark.parametrize("command", ["check", "estimate", "sample", "run"])
def test_the_first_line_says_what_is_done_before_anything_is_imported_that_the_work_needs(
    command: str, make_job: MakeJob, tmp_path: Path
) -> None:
    path = write_job(make_job(3), tmp_path)
    needed = ("promptmill.job.spec", "fsspec", "pyarrow", "asyncio", *HEAVY)
    said = subprocess.run(
        [sys.executable, "-c", FIRST_LINE, command, str(path), ",".join(needed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout == f"reading {path}; loaded: []"


def test_the_help_imports_neither_the_job_nor_arrow(simulator: Simulator) -> None:
    heavy = (*HEAVY, "promptmill.job.spec", "pyarrow", "tiktoken")

    assert loaded("--help", base_url=simulator.base_url, heavy=heavy) == ["ended with 0", "loaded:"]


def test_a_misspelt_key_imports_no_arrow(make_job: MakeJob, tmp_path: Path, simulator: Simulator) -> None:
    path = write_job(make_job(3), tmp_path)
    path.write_text(path.read_text() + "\nmodle: x\n")

    assert loaded("run", path, base_url=simulator.base_url, heavy=(*HEAVY, "pyarrow", "tiktoken")) == [
        "ended with 2",
        "loaded:",
    ]


@pytest.mark.parametrize("words", [("check",), ("run",)], ids=["check", "run"])
def test_no_command_without_prefect_imports_prefect_or_the_sdk(
    words: tuple[str, ...], make_job: MakeJob, tmp_path: Path, simulator: Simulator
) -> None:
    path = write_job(make_job(3), tmp_path)
    heavy = HEAVY if words == ("check",) else ("prefect", "openai", "pandas")

    assert loaded(*words, path, base_url=simulator.base_url, heavy=heavy)[-1] == "loaded:"
