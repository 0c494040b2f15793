"""The wheel, built from this checkout and installed into an environment of its own, beside a project of a user's."""

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

_NOT_OURS = 'raise RuntimeError("the command imported the project\'s own package")\n'


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the wheel in it, and a project that has `flows` and `tasks` of its own."""

    wheel: Path
    bin: Path
    project: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Of a command in the project: its own folder comes first on Python's path, and no server is named."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return {**kept, "PYTHONPATH": str(self.project), "PREFECT_HOME": str(self.bin.parent / "prefect"), **more}

    def start(self, *words: str, **more: str) -> "subprocess.Popen[str]":
        """A program of the environment, started in the project; the first word is its name."""
        return subprocess.Popen(
            [str(self.bin / words[0]), *words[1:]],
            cwd=self.project,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A program of the environment, run in the project to its end; the first word is its name."""
        return subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=self.project,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def install_wheel(folder: Path) -> Installed:
    """Build the wheel and install it alone; all that it needs comes from the environment that runs the tests."""
    _run("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist"))
    (wheel,) = (folder / "dist").iterdir()
    _run("-m", "venv", "--without-pip", str(folder / "env"))
    python = folder / "env/bin/python"
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(python))
    _run(*pip, "install", "--no-index", "--no-deps", "--no-compile", str(wheel))
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    (site / "needs.pth").write_text(sysconfig.get_paths()["purelib"])
    return Installed(wheel, python.parent, _project(folder / "project"))


def _run(*words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _project(folder: Path) -> Path:
    for name in ("flows", "tasks"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(_NOT_OURS)
    return folder
