"""The `promptmill` command in a process of its own, as a person types it."""

import os
import subprocess
import sys
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
    *words: str | Path, api_url: str, base_url: str | None, key: str = "key-that-must-not-show"
) -> subprocess.Popen[str]:
    """`promptmill …` in a process of its own; without an API's URL, it uses no Prefect server."""
    environment = {**os.environ, "PREFECT_API_URL": api_url, "OPENAI_API_KEY": key}
    if base_url is not None:
        environment["OPENAI_BASE_URL"] = base_url
    return subprocess.Popen(
        [sys.executable, "-m", "flows", *map(str, words)],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
