"""By how much a run may pass its cap on money, at most. Pure.

Money is reserved before a request is sent, and nothing is sent that doesn't fit under the cap. What is on its way can
still cost more than was reserved for it: the provider may count more input than we do, charge another service tier than
the one the job asks for, or answer at length where the job sets no output limit. Every such request passes the cap by its
own excess only, since the next reservation sees what was spent; so the cap is passed by at most the requests in flight
times the most that one answer can exceed its reservation.
"""

from dataclasses import dataclass
from decimal import Decimal

from promptmill.limits.output_guess import UNKNOWN_OUTPUT_TOKENS
from promptmill.limits.pricing import PriceList

LONGEST_OUTPUT_TOKENS = 128_000  # of one answer: the longest of OpenAI's models (model pages, read 2026-11-24)
INEXACT_INPUT_FACTOR = 2  # an estimate of the input is taken to be too low by half at worst


@dataclass(frozen=True, slots=True)
class Overshoot:
    """What requests in flight can cost beyond their reservations."""

    in_flight: int
    answer_usd: Decimal  # the most that one answer can exceed its reservation

    @property
    def usd(self) -> Decimal:
        """What the cap can be passed by."""
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
