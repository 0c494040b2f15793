"""Carries out orders to a run by batches. A paused run submits nothing more; a stopped run leaves its batches running."""

from dataclasses import replace
from typing import TYPE_CHECKING

from promptmill.checkpoints.deadline_record import read_deadline
from promptmill.errors import StoppedByOrder
from promptmill.job.spec import Job
from promptmill.planning.prepared_job import Prepared
from promptmill.runs.run import PendingRun, Run
from promptmill.steering.listening import Listener
from promptmill.steering.order_files import OrderFiles, SteeredRun
from promptmill.steering.orders import Steering
from promptmill.storage import Storage

if TYPE_CHECKING:
    from promptmill.batch.step import BatchWork


def steered_job(job: Job, steering: Steering) -> Job:
    """The job with the settings that orders changed since its run began."""
    ratio = steering.max_failure_ratio
    changed: dict[str, object] = {} if ratio is None else {"max_failure_ratio": ratio}
    if steering.budget_usd is not None:
        changed["budget_usd"] = steering.budget_usd
    return job.model_copy(update=changed)


def steered_prepared(prepared: Prepared, steering: Steering) -> Prepared:
    """A prepared job with these settings; the budget never passes the sum that a person approved."""
    job = steered_job(prepared.job, steering)
    return replace(prepared, job=job)


def steered_run(run: Run, steering: Steering) -> Run:
    """A planned run with these settings."""
    return replace(run, prepared=steered_prepared(run.prepared, steering)) if isinstance(run, PendingRun) else run


def run_of_batches(checkpoints: Storage) -> SteeredRun | None:
    """The output's run by batches, as orders address it; None if none is under way. Blocks. Raises: StorageFailed."""
    run = OrderFiles(checkpoints).run()
    if run is None or run.is_over:
        return None
    is_timed = run.mode == "online" and read_deadline(checkpoints) is not None  # batches answer it while there is time
    return run if run.mode == "batch" or is_timed else None


def hear_orders(work: "BatchWork") -> StoppedByOrder | None:
    """Read the orders to the run of these batches, in a step of advance-batches; returns why the run stops, if it does. Blocks.

    Raises: StorageFailed.
    """
    files, run = OrderFiles(work.store.storage), run_of_batches(work.store.storage)
    if run is None:
        return None
    listener = Listener(files, run, "a step of advance-batches")
    if listener.hear():
        work.steering = listener.steering
        heard = {name for one in files.heard(run) for name in one.names}
        if not heard.issuperset(files.names(run)):  # otherwise an earlier step has already said so
            listener.tell()
    return work.steering.stop


def end_orders(work: "BatchWork") -> None:
    """Write down that the run of these batches listens to orders no longer. Blocks. Raises: StorageFailed."""
    run = run_of_batches(work.store.storage)
    if run is not None:
        OrderFiles(work.store.storage).end(run)
