"""Whether a run may ask its first rows while it plans the others: what forbids it, in words. Pure."""

from dataclasses import dataclass

from promptmill.job.spec import Job

HEAD_ROWS = 2_000  # rows that are planned and checked before the first request; a fraction of a second
MOST_UNPLANNED = 64  # answer files that no plan is known for; the run keeps their rows in a temporary database


@dataclass(frozen=True, slots=True)
class Waits:
    """Why a run plans all rows before its first request."""

    reason: str
    is_choice: bool = False  # `plan: head` would do without

    @property
    def sentence(self) -> str:
        """What a person reads of it."""
        way = "; plan: head asks at once, and checks the other rows as they come" if self.is_choice else ""
        return f"all rows are planned before the first request: {self.reason}{way}"


def why_whole(
    job: Job, mode: str, *, is_capped: bool, is_cached: bool, is_drawn: bool = False, unplanned: int = 0
) -> Waits | None:
    """Why a run plans all rows before its first request; None where it needn't.

    `is_capped`: a budget or an approved amount holds. `is_cached`: the job has a cache. `is_drawn`: its rows are some of the
    input's. `unplanned`: answer files of earlier runs whose plan isn't kept.
    """
    if job.plan == "whole":
        return Waits("the job says so (plan: whole)")
    if (cannot := _why_never(job, mode, is_cached=is_cached, is_drawn=is_drawn)) is not None:
        return Waits(cannot)
    if unplanned > MOST_UNPLANNED:
        return Waits(f"{unplanned:,} chunks are answered that no kept plan names")
    careful = None if job.plan == "head" else _why_careful(job, is_capped=is_capped)
    return None if careful is None else Waits(careful, is_choice=True)


def _why_never(job: Job, mode: str, *, is_cached: bool, is_drawn: bool) -> str | None:
    """What needs the whole plan, whatever the job says of it."""
    if is_drawn:
        return "a sample's rows are few"
    if mode == "batch":
        return "batches are packed from the whole plan"
    if job.shards > 1:
        return "the whole plan is divided among the shards (shards)"
    if job.processes != 1:
        return "the whole plan is divided among the processes (processes)"
    if job.deadline is not None:
        return "batches are packed from the whole plan (deadline)"
    return "the cache is asked for all requests at once (cache)" if is_cached else None


def _why_careful(job: Job, *, is_capped: bool) -> str | None:
    """What the whole plan tells before money is spent; `plan: head` does without it."""
    if is_capped:
        return "the estimate is compared with the budget (budget_usd)"
    if job.approve_above_usd is not None:
        return "a person may have to approve the estimate (approve_above_usd)"
    if job.input.id_column is not None:
        return "each id must be unique (input.id_column)"
    if job.output.partition_by:
        return "the values that make folders are counted (output.partition_by)"
    return None


def describe_head(job: Job, rows: int) -> str:
    """A run that asks while it plans, in a sentence: what is checked by then and what isn't."""
    later = [
        "whether they can be read" if job.input.on_bad_row == "fail" else "how many can't be read",
        *(["whether an id repeats"] if job.input.id_column is not None else []),
        *(["whether they make too many folders"] if job.output.partition_by else []),
        "how many tokens they take",
    ]
    listed = f"{', '.join(later[:-1])} and {later[-1]}"
    return (
        f"the first {rows:,} rows are checked before the first request, the others while it asks: {listed}. What is wrong "
        "there ends the run then, and its answers are kept (plan: whole checks all rows first)"
    )
