"""Defines the messages between a run and its child processes: one line of JSON each, over the child's pipes.

The first line to a child is its work, with the credentials. Nobody else can read a pipe, unlike the command line and the
environment of a process. Later lines are its part of the limits, if that changes, a key that it asked for, and END, which
asks the child to end. A closed pipe means END too, since then the run's process is gone. A child sends its progress, its
log lines, and last how it ended.
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
    """The work of a child, and its run."""

    checkpoints: str  # URL of the folder of stored answers
    name: str  # name of the folder with the children's records of spending
    plan: ShardPlan
    part: int  # 0 = first
    what: str  # the child's name for people
    claim: str  # the token of the run's claim on the output
    credentials: Credentials
    steered: SteeredRun | None
    is_closed: bool  # only URLs that the operator lists are open (allowed_urls.py)
    log_level: int
    may_ask_for_key: bool = False  # whether only the run can look up the key again


@dataclass(frozen=True, slots=True)
class Counts:
    """The progress of one child."""

    done: int = 0  # rows, including those answered before
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
    """A log line of a child."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """A message of a child; exactly one field is set."""

    counts: Counts | None = None
    line: Line | None = None
    outcome: StoredOutcome | None = None
    wants_key: bool = False  # the provider refuses the child's key


WORK: TypeAdapter[Work] = TypeAdapter(Work)
_CREDENTIALS: TypeAdapter[Credentials] = TypeAdapter(Credentials)
REPORT: TypeAdapter[Report] = TypeAdapter(Report)


def part_line(part: float) -> bytes:
    """The line that gives a child its part of the limits from now on."""
    return _PART + f"{part:.9f}\n".encode()


def part_of(line: bytes) -> float | None:
    """The part of the limits in a line; None for END or a closed pipe."""
    return float(line.removeprefix(_PART)) if line.startswith(_PART) else None


def key_line(credentials: Credentials) -> bytes:
    """The line that gives a child the credentials that it asked for."""
    return _KEY + _CREDENTIALS.dump_json(credentials) + b"\n"


def key_of(line: bytes) -> Credentials | None:
    """The credentials in a line; None for any other line."""
    return _CREDENTIALS.validate_json(line.removeprefix(_KEY)) if line.startswith(_KEY) else None


def outcome_line(outcome: Outcome) -> bytes:
    """How a child ended, as its last line."""
    return orjson.dumps({"outcome": outcome_values(outcome)})
