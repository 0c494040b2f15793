"""Orders to a run by batches: a paused one submits nothing more, and a stopped one leaves its batches at the provider."""

from dataclasses import replace
from typing import TYPE_CHECKING

from promptmill.errors import StoppedByOrder
from promptmill.job.spec import Job
from promptmill.planning.prepared_job import Prepared
from promptmill.runs.run import PendingRun, Run
from promptmill.steering.listening import Listener
from promptmill.steering.order_files import OrderFiles
from promptmill.steering.orders import Steering

if TYPE_CHECKING:
    from promptmill.batch.step import BatchWork


def steered_job(job: Job, steering: Steering) -> Job:
    """The job with what was set since its run began."""
    ratio = steering.max_failure_ratio
    changed: dict[str, object] = {} if ratio is None else {"max_failure_ratio": ratio}
    if steering.budget_usd is not None:
        changed["budget_usd"] = steering.budget_usd
    return job.model_copy(update=changed)


def steered_prepared(prepared: Prepared, steering: Steering) -> Prepared:
    """The same of a job made ready; what a person approved stays the most."""
    job = steered_job(prepared.job, steering)
    return replace(prepared, job=job)


def steered_run(run: Run, steering: Steering) -> Run:
    """The same of a planned run."""
    return replace(run, prepared=steered_prepared(run.prepared, steering)) if isinstance(run, PendingRun) else run


def hear_orders(work: "BatchWork") -> StoppedByOrder | None:
    """Hear, in a step of its own, what the run of these batches was told; why it stops, if it does. Blocks.

    Raises: StorageFailed.
    """
    files = OrderFiles(work.store.storage)
    run = files.run()
    if run is None or run.is_over or run.mode != "batch":
        return None
    listener = Listener(files, run, "a step of advance-batches")
    if listener.hear():
        work.steering = listener.steering
        listener.tell()
    return work.steering.stop


def end_orders(work: "BatchWork") -> None:
    """Say that the run of these batches hears no more. Blocks. Raises: StorageFailed."""
    files = OrderFiles(work.store.storage)
    run = files.run()
    if run is not None and run.mode == "batch" and not run.is_over:
        files.end(run)
