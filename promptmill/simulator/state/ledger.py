"""Keeps the provider's books: bills, and counts of what it did to the client.

Tests compare a client's own accounts with these books, so only the server writes them. The server bills a request when it
makes the answer, before the latency and the sending: a client that hangs up pays, as in reality.
"""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from promptmill.simulator.options import FAULT_RATIOS
from promptmill.simulator.usage import Usage
from promptmill.simulator.wire import JsonObject

BATCH_TIER = "batch"
_SHOWN_COUNTERS = (  # always, also while they are 0
    "attempts",
    "status_200",
    "status_429",
    "rate_limit_429",
    "files_uploaded",
    "batches_created",
    *(f"fault_{name}" for name in FAULT_RATIOS),
)


@dataclass(slots=True)
class Account:
    """Sums of what was billed."""

    requests: int = 0
    input_tokens: int = 0  # includes the cached ones
    cached_input_tokens: int = 0
    output_tokens: int = 0

    def add(self, usage: Usage) -> None:
        """Enter one answered request."""
        self.requests += 1
        self.input_tokens += usage.input_tokens
        self.cached_input_tokens += usage.cached_input_tokens
        self.output_tokens += usage.output_tokens

    def merge(self, other: "Account") -> None:
        """Enter another account's sums."""
        self.requests += other.requests
        self.input_tokens += other.input_tokens
        self.cached_input_tokens += other.cached_input_tokens
        self.output_tokens += other.output_tokens

    def as_json(self) -> JsonObject:
        """The four sums."""
        return {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "cached_input_tokens": self.cached_input_tokens,
            "output_tokens": self.output_tokens,
        }


@dataclass(slots=True)
class Ledger:
    """Everything billed and counted since the start or the last reset."""

    accounts: defaultdict[tuple[str, str], Account] = field(default_factory=lambda: defaultdict(Account))  # tier, model
    bodies: Counter[bytes] = field(default_factory=Counter[bytes])  # body digest -> times billed
    counters: Counter[str] = field(default_factory=Counter[str])
    in_flight: int = 0
    max_in_flight: int = 0
    billed: int = 0  # requests, all tiers
    started: float = field(default_factory=time.monotonic)
    requests_a_second: list[int] = field(default_factory=list[int])  # admitted, by second since the start
    tokens_a_second: list[int] = field(default_factory=list[int])  # charged against the token limit

    def enter(self) -> None:
        """A request has come in."""
        self.counters["attempts"] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def leave(self) -> None:
        """A request is over, however it ended."""
        self.in_flight -= 1

    def admit(self, tokens: int) -> None:
        """A request has passed the limits."""
        second = int(time.monotonic() - self.started)
        missing = second + 1 - len(self.requests_a_second)
        if missing > 0:
            self.requests_a_second.extend([0] * missing)
            self.tokens_a_second.extend([0] * missing)
        self.requests_a_second[second] += 1
        self.tokens_a_second[second] += tokens

    def bill(self, tier: str, model: str, usage: Usage, digest: bytes | None) -> None:
        """Enter an answered request; without a digest it isn't counted by body."""
        self.accounts[tier, model].add(usage)
        self.billed += 1
        if digest is not None:
            self.bodies[digest] += 1

    def as_json(self, *, detail: bool) -> JsonObject:
        """Totals, by model and by tier; counters; with detail the times each body was billed."""
        models: defaultdict[str, Account] = defaultdict(Account)
        tiers: defaultdict[str, JsonObject] = defaultdict(dict)
        totals = Account()
        for (tier, model), account in self.accounts.items():
            models[model].merge(account)
            totals.merge(account)
            tiers[tier][model] = account.as_json()
        summary: JsonObject = {
            "totals": totals.as_json(),
            "models": {model: account.as_json() for model, account in models.items()},
            "tiers": dict(tiers),
            "counters": {
                **dict.fromkeys(_SHOWN_COUNTERS, 0),
                **self.counters,
                "in_flight": self.in_flight,
                "max_in_flight": self.max_in_flight,
            },
            "bodies_billed_more_than_once": sum(times > 1 for times in self.bodies.values()),
        }
        if detail:
            summary["bodies"] = {digest.hex(): times for digest, times in self.bodies.items()}
        return summary

    def timeline(self) -> JsonObject:
        """Admitted requests and the tokens charged for them, second by second since the start."""
        return {
            "seconds": time.monotonic() - self.started,
            "requests": list(self.requests_a_second),
            "tokens": list(self.tokens_a_second),
        }
