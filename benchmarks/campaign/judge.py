"""Whether a round went well: the output and the provider's ledger, compared. Pure.

What a row may cost is judged by the ledger alone: it counts how often each body was billed, whatever our books say.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

EXIT_CODES = {0, 1, 2, 3, 130}  # docs/commands.md
STOPPED, WRONG, AT_BUDGET = 1, 2, 3
KILLED = -9  # SIGKILL; a fault of the round ends a command by no other signal


@dataclass(frozen=True, slots=True)
class Ran:
    """One command, as it is seen from outside."""

    exit_code: (
        int | None
    )  # negative: the signal that killed it; None: it had to be ended, since it didn't end by itself
    was_killed: bool  # by a fault of the round
    sent: int  # attempts that reached the provider while it ran
    is_complete: bool  # whether the output's manifest stood after it
    has_traceback: bool = False
    seconds: float = 0.0  # that it took, where nothing happened to it


@dataclass(frozen=True, slots=True)
class Look:
    """What was delivered, and how often each body was billed, between two commands."""

    delivered: frozenset[int]  # rows whose answers lay in the output's files
    billed: Mapping[str, int]  # body → times


@dataclass(frozen=True, slots=True)
class Audited:
    """What `promptmill audit` says after a command, and what the provider has billed by then."""

    known_usd: Decimal
    bill_usd: Decimal
    at_most_usd: Decimal
    widest_usd: Decimal | None = None  # that the two may be apart; None: nobody says


@dataclass(frozen=True, slots=True)
class History:
    """All that a round left behind."""

    bodies: tuple[str, ...]  # by row: the digest of the request's body
    ran: tuple[Ran, ...]
    looks: tuple[Look, ...]
    billed: Mapping[str, int]  # body → times, in the end
    outputs: tuple[int, ...]  # row numbers found in the two outputs together
    repeated_at_most: int  # rows that one interruption may cost again
    audits: tuple[Audited, ...] = ()  # after each command
    left: tuple[str, ...] = ()  # processes that were still there
    budget_usd: Decimal | None = None
    overshoot_usd: Decimal = Decimal(0)  # by which the cap may be passed
    spent_usd: Decimal = Decimal(0)  # as billed, until the cap was raised


@dataclass(frozen=True, slots=True)
class Verdict:
    """A round's figures, and what is wrong with it."""

    lost: int  # rows in no output
    doubled: int  # rows in the outputs more than once
    paid_twice: int  # rows billed again after their answer was delivered
    repeated: int  # billings beyond one a row
    repeated_at_most: int  # what the round's interruptions allow
    interruptions: int
    findings: tuple[str, ...]  # empty: all is well


def judge(history: History) -> Verdict:
    """The verdict on a round."""
    found = Counter(history.outputs)
    lost = sum(row not in found for row in range(len(history.bodies)))
    doubled = sum(times > 1 for times in found.values())
    interruptions = sum(ran.exit_code not in {0, WRONG, AT_BUDGET} for ran in history.ran)
    verdict = Verdict(
        lost=lost,
        doubled=doubled,
        paid_twice=_paid_twice(history),
        repeated=sum(times - 1 for times in history.billed.values()),
        repeated_at_most=interruptions * history.repeated_at_most,
        interruptions=interruptions,
        findings=(),
    )
    findings = (
        *_row_findings(history, verdict),
        *_money_findings(history, verdict),
        *_audit_findings(history.audits),
        *_process_findings(history),
    )
    return Verdict(
        **{name: getattr(verdict, name) for name in Verdict.__slots__ if name != "findings"}, findings=findings
    )


def _paid_twice(history: History) -> int:
    """Rows that were billed more often in the end than when their answer was seen delivered."""
    again: set[int] = set()
    for look in history.looks:
        for row in look.delivered:
            body = history.bodies[row]
            if history.billed.get(body, 0) > look.billed.get(body, 0):
                again.add(row)
    return len(again)


def _row_findings(history: History, verdict: Verdict) -> Iterator[str]:
    if verdict.lost:
        yield f"{verdict.lost} rows are in no output"
    if verdict.doubled:
        yield f"{verdict.doubled} rows are in the outputs more than once"
    if unknown := len({*history.outputs} - {*range(len(history.bodies))}):
        yield f"{unknown} rows of the outputs are not the input's"
    if unknown := len(history.billed.keys() - {*history.bodies}):
        yield f"{unknown} bodies were billed that no row has"
    if not history.ran or history.ran[-1].exit_code != 0:
        yield "the last command didn't complete the output"


def _money_findings(history: History, verdict: Verdict) -> Iterator[str]:
    if verdict.paid_twice:
        yield f"{verdict.paid_twice} rows were paid for again after their answer was delivered"
    if verdict.repeated > verdict.repeated_at_most:
        yield (
            f"{verdict.repeated} answers were paid for again; {verdict.interruptions} interruptions allow "
            f"{verdict.repeated_at_most}"
        )
    if history.budget_usd is not None and history.spent_usd > history.budget_usd + history.overshoot_usd:
        yield f"${history.spent_usd} was billed; the cap is ${history.budget_usd} + ${history.overshoot_usd}"


def _audit_findings(audits: Sequence[Audited]) -> Iterator[str]:
    for number, found in enumerate(audits, 1):
        told = f"${found.known_usd} to ${found.at_most_usd}"
        if not found.known_usd <= found.bill_usd <= found.at_most_usd:
            yield f"the audit after command {number} says {told}; ${found.bill_usd} was billed"
        if found.widest_usd is not None and found.at_most_usd - found.known_usd > found.widest_usd:
            yield f"the audit after command {number} says {told}; ${found.widest_usd} apart is allowed"


def _process_findings(history: History) -> Iterator[str]:
    if history.left:
        yield f"processes were left behind: {', '.join(history.left)}"
    for number, ran in enumerate(history.ran, 1):
        yield from (f"command {number} {fault}" for fault in _command_findings(ran, history.budget_usd is not None))


def _command_findings(ran: Ran, has_budget: bool) -> Iterator[str]:
    if ran.exit_code is None:
        yield "didn't end"
        return
    if ran.has_traceback:
        yield "printed a traceback"
    if ran.exit_code == KILLED and ran.was_killed:
        return
    if ran.exit_code not in EXIT_CODES:
        yield f"ended with exit code {ran.exit_code}, which isn't documented"
    if ran.exit_code == 0 and not ran.is_complete:
        yield "ended with exit code 0 without a complete output"
    if ran.exit_code == WRONG and ran.sent:
        yield f"ended with exit code {WRONG}, which says that nothing was sent, after {ran.sent} attempts"
    if ran.exit_code == AT_BUDGET and not has_budget:
        yield f"ended with exit code {AT_BUDGET} without a budget"
