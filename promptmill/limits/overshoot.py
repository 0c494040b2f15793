"""Computes by how much a run can pass its cap on money, at most. Pure.

A run reserves money before it sends a request, and sends no request that doesn't fit under the cap. A request in flight can
still cost more than its reservation: the provider may count more input than we do, charge another service tier than the
job's, or give a long answer if the job sets no output limit. Each such request adds only its own excess, since the next
reservation sees the real cost. So a run passes the cap by at most the number of requests in flight times the largest
excess of one answer.
"""

from dataclasses import dataclass
from decimal import Decimal

from promptmill.limits.output_guess import UNKNOWN_OUTPUT_TOKENS
from promptmill.limits.pricing import PriceList

LONGEST_OUTPUT_TOKENS = 128_000  # of one answer: the longest of OpenAI's models (model pages, read 2026-11-24)
INEXACT_INPUT_FACTOR = 2  # at worst, our estimate of the input is too low by half


@dataclass(frozen=True, slots=True)
class Overshoot:
    """The cost of requests in flight beyond their reservations."""

    in_flight: int
    answer_usd: Decimal  # the most that one answer can exceed its reservation

    @property
    def usd(self) -> Decimal:
        """US dollars by which a run can pass the cap."""
        return self.in_flight * self.answer_usd


def overshoot_of(
    prices: PriceList,
    tier: str | None,
    in_flight: int,
    input_tokens: int,
    max_output_tokens: int | None,
    is_exact: bool,
) -> Overshoot:
    """The overshoot of requests of at most `input_tokens` each; `is_exact` says whether these are the model's own count."""
    reserved_output = UNKNOWN_OUTPUT_TOKENS if max_output_tokens is None else max_output_tokens
    most_output = max(LONGEST_OUTPUT_TOKENS, reserved_output) if max_output_tokens is None else max_output_tokens
    most_input = input_tokens if is_exact else input_tokens * INEXACT_INPUT_FACTOR
    most_usd = prices.dearest_usd(most_input, most_output)
    return Overshoot(in_flight, max(Decimal(0), most_usd - prices.request_usd(input_tokens, reserved_output, tier)))
