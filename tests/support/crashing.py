"""A process that runs a job by batches and kills itself at a named point, as `kill -9` would."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import promptmill.batch.drafting
import tests.support.batching
from promptmill.batch.api import BatchProvider
from promptmill.batch.collection import BatchCollection
from promptmill.batch.ledger import Ledger
from promptmill.checkpoints.store import Store
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials

POINTS = (
    "after-numbers",
    "after-intent",
    "before-upload",
    "after-upload",
    "before-create",
    "after-create",
    "polling",
    "after-download",
    "during-collection",
    "after-collection",
    "before-plan-record",
    "before-publish",
    "before-closing",
)


def die(*_: Any) -> Any:
    """End at once, nothing closed, nothing flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def _after(owner: Any, name: str) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def dies(*arguments: Any, **named: Any) -> None:
        real(*arguments, **named)
        die()

    setattr(owner, name, dies)


def arm(point: str) -> None:
    """Make the process die at a point."""
    before = {
        "before-plan-record": (promptmill.batch.drafting, "write_plan"),
        "before-upload": (BatchProvider, "upload"),
        "before-create": (BatchProvider, "create"),
        "polling": (BatchProvider, "retrieve"),
        "before-publish": (tests.support.batching, "publish_run"),
        "before-closing": (tests.support.batching, "close_batches"),
    }
    after = {
        "after-numbers": (Ledger, "save_numbers"),
        "after-intent": (Ledger, "intend"),
        "after-upload": (BatchProvider, "upload"),
        "after-create": (BatchProvider, "create"),
        "after-download": (BatchProvider, "download"),
        "during-collection": (Store, "save_slice"),
        "after-collection": (BatchCollection, "_keep"),
    }
    if point in before:
        place, name = before[point]
        setattr(place, name, die)
    else:
        _after(*after[point])


def run_until(job_file: Path, base_url: str, point: str) -> None:
    """Run the job until the point; for a process of its own."""
    arm(point)
    job = Job.model_validate_json(job_file.read_bytes())
    asyncio.run(tests.support.batching.carry_batches(job, Credentials(api_key="test", base_url=base_url)))
