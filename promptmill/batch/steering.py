"""Orders to a run by batches: a paused one submits nothing more, and a stopped one leaves its batches at the provider."""

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


def run_of_batches(checkpoints: Storage) -> SteeredRun | None:
    """The run by batches under way on an output, as orders name it; None where there is none. Blocks. Raises: StorageFailed."""
    run = OrderFiles(checkpoints).run()
    if run is None or run.is_over:
        return None
    is_timed = (
        run.mode == "online" and read_deadline(checkpoints) is not None
    )  # by batches for as long as there is time
    return run if run.mode == "batch" or is_timed else None


def hear_orders(work: "BatchWork") -> StoppedByOrder | None:
    """Hear, in a step of its own, what the run of these batches was told; why it stops, if it does. Blocks.

    Raises: StorageFailed.
    """
    files, run = OrderFiles(work.store.storage), run_of_batches(work.store.storage)
    if run is None:
        return None
    listener = Listener(files, run, "a step of advance-batches")
    if listener.hear():
        work.steering = listener.steering
        heard = {name for one in files.heard(run) for name in one.names}
        if not heard.issuperset(files.names(run)):  # else an earlier step has said so
            listener.tell()
    return work.steering.stop


def end_orders(work: "BatchWork") -> None:
    """Say that the run of these batches hears no more. Blocks. Raises: StorageFailed."""
    run = run_of_batches(work.store.storage)
    if run is not None:
        OrderFiles(work.store.storage).end(run)
