"""How a process ends: its work done, its exit code told, and none of its objects taken apart under running threads."""

import subprocess
import sys
import tomllib

import pytest

from tests.support.paths import ROOT


@pytest.mark.parametrize("code", [0, 2, 130])
def test_process_ends_as_python_ends_it_but_takes_nothing_apart(code: int) -> None:
    program = f"""
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from promptmill.processes import end_process

class Kept:
    def __del__(self):
        print("taken apart", flush=True)

kept = Kept()
atexit.register(print, "at exit")
pool = ThreadPoolExecutor(2)
pool.submit(lambda: (time.sleep(0.2), print("worked")))
threading.Thread(target=lambda: (time.sleep(0.1), print("ran"))).start()
threading.Thread(target=lambda: time.sleep(60), daemon=True).start()
sys.stderr.write("unflushed")
end_process({code})
"""

    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)

    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "ran\nworked\nat exit\n", "unflushed")


def test_the_command_ends_its_process_so() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ended = subprocess.run([sys.executable, "-m", "promptmill", "check", "no-such.yaml"], cwd=ROOT, capture_output=True)

    assert project["scripts"]["promptmill"] == "promptmill.__main__:command"
    assert ended.returncode == 2
    assert b"no-such.yaml" in ended.stderr
