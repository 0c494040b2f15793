"""Passes a job to a flow run. Prefect's server accepts 512 KB of parameters, so a larger job goes by a file."""

import json
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from promptmill.job.spec import Job
from promptmill.sharding.plan import absolute_job

_MOST_CHARACTERS = 400_000  # of JSON, with six for each non-ASCII character; Prefect's own additions need the rest


@contextmanager
def parameters_of(job: Job) -> Generator[tuple[Job | None, str | None]]:
    """The flow's parameters for a job: the job itself, or the address of a file that lasts as long as the block."""
    values = absolute_job(job).model_dump(mode="json")
    text = json.dumps(values)
    if len(text) <= _MOST_CHARACTERS:
        yield job, None
        return
    with tempfile.TemporaryDirectory(prefix="promptmill-job-") as folder:
        path = Path(folder, "job.json")
        path.write_text(text)
        yield None, str(path)
