"""One run of a job in a process of its own, without a Prefect server, as a notebook's; it ends as the command does.

The campaign forks it from a process that has imported everything, since the import takes longer than a round's run.
"""

import asyncio
import os
import signal
import sys
from datetime import date
from pathlib import Path

from promptmill.checkpoints.output_turn import Asking
from promptmill.errors import PromptmillError
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.runs.run import PendingRun, Planning, plan_run
from promptmill.standalone.answering import Alone
from promptmill.standalone.running import run_alone

TODAY = date(2026, 11, 26)


def carry(job_file: str, base_url: str, mode: str, log: str) -> None:
    """Run a job to its end, once no other run works on its output. Raises: SystemExit with the exit code of the command."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ["SSL_CERT_DIR"] = str(Path(job_file).parent)  # no certificate: to load them is half a small run's CPU
    job = Job.model_validate_json(Path(job_file).read_bytes())
    try:
        run = plan_run(job, Credentials(api_key="campaign", base_url=base_url), Planning(TODAY, mode=mode))
        if isinstance(run, PendingRun):
            asyncio.run(run_alone(run, Alone(Asking("a run of the campaign"))))
    except PromptmillError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(error.exit_code) from None
