"""`promptmill run JOB` as a person types it, where no Prefect server is named: a process of its own, started from nothing."""

import os
import subprocess
import sys
from contextlib import suppress

from benchmarks.campaign.draw import Round
from benchmarks.campaign.jobs import Place
from deployments.serve import ROOT


class Command:
    """The command under way; its methods are those of a process of multiprocessing."""

    def __init__(self, drawn: Round, place: Place, base_url: str, number: int) -> None:
        settings = {
            **os.environ,
            "PREFECT_API_URL": "",
            "PREFECT_HOME": str(place.folder / "prefect"),
            "OPENAI_API_KEY": "campaign",
            "OPENAI_BASE_URL": base_url,
        }
        words = [sys.executable, "-m", "flows", "run", str(place.job), "--mode", drawn.mode]
        with place.log(number).open("ab") as log:
            self._process = subprocess.Popen(
                words, cwd=ROOT, env=settings, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """Negative: the signal that killed it; None while it is at work."""
        return self._process.poll()

    def is_alive(self) -> bool:
        """Whether it is at work."""
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def kill(self) -> None:
        """End it by SIGKILL, alone of its group."""
        self._process.kill()
