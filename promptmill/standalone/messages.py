"""What a run and the processes that it started say to each other: a line of JSON each, over the child's own pipes.

The first line to a child is its work, with the credentials: a pipe is no place that anybody else reads, as the command line
and the environment of a process are. After it come its part of the limits, whenever that changes, a key that it asked for,
and END, which asks the child to end; so does a pipe that was closed, since then the run's process is gone. A child says how
far it is, what it would log, and last how it ended.
"""

from dataclasses import dataclass
from decimal import Decimal

import orjson
from pydantic import TypeAdapter

from promptmill.provider.transport import Credentials
from promptmill.sharding.outcome_record import StoredOutcome, outcome_values
from promptmill.sharding.plan import Outcome, ShardPlan
from promptmill.steering.order_files import SteeredRun

END = b"end\n"
_PART, _KEY = b"part ", b"key "


@dataclass(frozen=True, slots=True)
class Work:
    """What a child takes on, and for whom."""

    checkpoints: str  # URL of the folder of kept answers
    name: str  # of the folder with the records of what the children may have spent
    plan: ShardPlan
    part: int  # 0 = first
    what: str  # how people call the child
    claim: str  # the token of the claim by which the run holds the output
    credentials: Credentials
    steered: SteeredRun | None
    is_closed: bool  # only URLs that the operator lists are open (allowed_urls.py)
    log_level: int
    may_ask_for_key: bool = False  # the run can look it up again, and this process can't


@dataclass(frozen=True, slots=True)
class Counts:
    """How far one child is."""

    done: int = 0  # rows, with those that were answered before
    failed: int = 0
    reused: int = 0
    rows_per_second: float = 0.0
    tokens_per_minute: float = 0.0
    spent_usd: Decimal = Decimal(0)
    in_flight: int = 0
    waiting: int = 0  # requests that wait for a limit or for their next attempt
    limited_by: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What a child would log."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a child says; one of its fields is set."""

    counts: Counts | None = None
    line: Line | None = None
    outcome: StoredOutcome | None = None
    wants_key: bool = False  # the provider refuses the one that the child has


WORK: TypeAdapter[Work] = TypeAdapter(Work)
_CREDENTIALS: TypeAdapter[Credentials] = TypeAdapter(Credentials)
REPORT: TypeAdapter[Report] = TypeAdapter(Report)


def part_line(part: float) -> bytes:
    """Tells a child what part of the limits is its own from now on."""
    return _PART + f"{part:.9f}\n".encode()


def part_of(line: bytes) -> float | None:
    """The part of the limits that a line tells; None where it asks for the end, or there is no line any more."""
    return float(line.removeprefix(_PART)) if line.startswith(_PART) else None


def key_line(credentials: Credentials) -> bytes:
    """Tells a child the credentials that it asked for."""
    return _KEY + _CREDENTIALS.dump_json(credentials) + b"\n"


def key_of(line: bytes) -> Credentials | None:
    """The credentials that a line tells; None where it is another line."""
    return _CREDENTIALS.validate_json(line.removeprefix(_KEY)) if line.startswith(_KEY) else None


def outcome_line(outcome: Outcome) -> bytes:
    """How a child ended, as its last line."""
    return orjson.dumps({"outcome": outcome_values(outcome)})
