"""The `promptmill` command in a process of its own, as a person types it or forked from a process that has its imports."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path

import yaml

from promptmill.job.spec import Job
from tests.support.paths import ROOT


def write_job(job: Job, folder: Path) -> Path:
    """The job as a file."""
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job.model_dump(mode="json")))
    return path


def command(
    *words: str | Path,
    api_url: str,
    base_url: str | None,
    key: str = "key-that-must-not-show",
    is_warm: bool | None = None,
) -> subprocess.Popen[str]:
    """`promptmill …` in a process of its own; without an API's URL, it uses no Prefect server.

    With a server it is forked from a warm process (tests/support/warm_runs.py) unless the test says otherwise: what it would
    import takes two seconds of CPU.
    """
    environment = {**os.environ, "PREFECT_API_URL": api_url, "OPENAI_API_KEY": key}
    if base_url is not None:
        environment["OPENAI_BASE_URL"] = base_url
    is_warm = bool(api_url) if is_warm is None else is_warm
    begins = warm_flows(environment) if is_warm else [sys.executable, "-m", "flows"]
    return subprocess.Popen(
        [*begins, *map(str, words)],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def warm_flows(environment: dict[str, str], module: str = "flows") -> list[str]:
    """What stands for `python -m flows` in an environment, or for another module: the start of a process that a warm one forks.

    One warm process serves all commands of this process that have the same settings of Prefect.
    """
    settings = sorted(f"{name}={value}" for name, value in environment.items() if name.startswith("PREFECT_"))
    path = _folder() / sha256("\n".join([module, *settings]).encode()).hexdigest()[:12]
    return [sys.executable, "-I", "-S", str(ROOT / "tests/support/warm_runs.py"), str(path), module]


@cache
def _folder() -> Path:
    """Where the warm processes of this process listen; they end once it is gone."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
