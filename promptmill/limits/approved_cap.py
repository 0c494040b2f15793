"""What a person approved for an output, kept beside its checkpoints: every later run over it keeps to that.

The form says "spend at most this for the output", so the amount outlives the run that asked, whoever starts the next one
and by whatever job, until somebody approves anew. A record that can't be read is an error and no lifted cap: it is
written whole or not at all, so that what is torn was touched by somebody else.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from pydantic import TypeAdapter, ValidationError

from promptmill.errors import OutputError, StorageFailed
from promptmill.storage import STORAGE_ERRORS, Storage

NAME = "approved.json"


@dataclass(frozen=True, slots=True)
class Approved:
    """A person's yes."""

    cap_usd: Decimal | None  # for the output, over all its runs; None: the job's own budget
    question: str | None  # that was answered: flow run and which of its questions; None: `--approve`, unasked
    at: datetime


_RECORDS: TypeAdapter[Approved] = TypeAdapter(Approved)


def read_approved(checkpoints: Storage) -> Approved | None:
    """The last approval of an output; None where there was none. Raises: OutputError when it can't be known."""
    source = f"{checkpoints.url}/{NAME}"
    try:
        return _RECORDS.validate_json(checkpoints.read(NAME))
    except FileNotFoundError:
        return None
    except (*STORAGE_ERRORS, ValidationError) as error:
        raise OutputError(
            f"{source} can't be read: {type(error).__name__}. It says what a person approved to be spent for the output. "
            "Check the permissions and AWS_*; where the file is damaged, run once with --approve, or delete it."
        ) from error


def write_approved(checkpoints: Storage, cap_usd: Decimal | None, question: str | None = None) -> Approved:
    """Keep an approval, in place of the last one. Raises: StorageFailed."""
    approved = Approved(cap_usd, question, datetime.now(UTC))
    try:
        checkpoints.write(NAME, _RECORDS.dump_json(approved))
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"{checkpoints.url}/{NAME} can't be written: {error}. What was approved is kept there. Make room or give "
            "access, then start the run again; nothing was sent."
        ) from error
    return approved


def describe_cap(cap_usd: Decimal | None, approved: Approved | None = None) -> str:
    """A cap, where it comes from and how it is raised; `approved` where it is a person's."""
    if approved is None:
        return f"the limit is ${cap_usd} (budget_usd). Raise budget_usd and run the same command again"
    return (
        f"the limit is ${cap_usd}, approved for this output on {approved.at:%Y-%m-%d %H:%M} UTC. Have more approved: a run "
        "from a deployment asks again where its job has approve_above_usd, and `promptmill run --approve` lifts the limit"
    )
