"""Keeps the amount that a person approved for an output beside its checkpoints; every later run respects it.

The form says "spend at most this for the output". So the amount holds for later runs of any job over this output, until
somebody approves again. A damaged record is an error, and never lifts the cap.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import Field, TypeAdapter

from promptmill.errors import OutputError, StorageFailed
from promptmill.state_files import StateFile
from promptmill.storage import STORAGE_ERRORS, Storage

_NAME = "approved.json"


@dataclass(frozen=True, slots=True)
class Approved:
    """A person's yes."""

    cap_usd: Annotated[Decimal, Field(ge=0)] | None  # for the output, over all its runs; None: the job's own budget
    question: str | None  # the question: its flow run and number; None: `--approve` without a question
    at: datetime


_FORM: TypeAdapter[Approved] = TypeAdapter(Approved)
_RECORD: StateFile[Approved] = StateFile(
    _FORM,
    purpose="It says what a person approved to be spent for the output.",
    way_on="Restore the file, run once with --approve, or delete it: then no approved amount holds.",
    damaged=OutputError,
)


def read_approved(checkpoints: Storage) -> Approved | None:
    """The last approval of an output; None if there was none.

    Raises: OutputError if the record is damaged or can't be read.
    """
    try:
        return _RECORD.read(checkpoints, _NAME)
    except StorageFailed as error:  # a run reads it before it sends anything
        raise OutputError(str(error)) from error


def write_approved(checkpoints: Storage, cap_usd: Decimal | None, question: str | None = None) -> Approved:
    """Replace the last approval. Raises: StorageFailed."""
    approved = Approved(cap_usd, question, datetime.now(UTC))
    try:
        checkpoints.write(_NAME, _FORM.dump_json(approved))
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{checkpoints.shown}/{_NAME} can't be written: {checkpoints.describe(error)}. What was approved is kept "
            "there. Make room or give "
            "access, then start the run again; nothing was sent."
        ) from error
    return approved


def describe_cap(cap_usd: Decimal | None, approved: Approved | None = None) -> str:
    """A clause about a cap: where it comes from and how to raise it; `approved` if a person set it."""
    if approved is None:
        return f"the limit is ${cap_usd} (budget_usd). Raise budget_usd and run the same command again"
    return (
        f"the limit is ${cap_usd}, approved for this output on {approved.at:%Y-%m-%d %H:%M} UTC. Have more approved: a run "
        "from a deployment asks again where its job has approve_above_usd, and `promptmill run --approve` lifts the limit"
    )
