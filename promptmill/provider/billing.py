"""What a request may cost, and what its answer did cost. Pure.

A provider that tells no usage, or one that can't be right, has billed the request all the same: what it left out is counted
here, and the row is marked. Reasoning that nobody shows can't be counted, so where the output tokens are unknown the rest
of the reservation stays taken from the budget: the cap on money holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from promptmill.limits.budget import ZERO
from promptmill.limits.pricing import PriceList, stored_usd
from promptmill.provider.response_body import Answer
from promptmill.record import record
from promptmill.records import Usage


@record
class Charge:
    """What one answer took."""

    usage: Usage
    cost_usd: Decimal
    uncertain_usd: Decimal = ZERO  # what the provider may have billed beyond it


@dataclass(frozen=True, slots=True)
class Billing:
    """The prices of one job and one way to send it."""

    prices: PriceList
    tier: str | None  # that the job asks for; "batch" for batches
    count_tokens: Callable[[str], int]
    is_tier_fixed: bool = False  # the tier that an answer names changes nothing, as in batches
    most_input_factor: int = 1  # times our count of the input, what the provider may count at most

    def reserve_usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """What to set aside for one request."""
        return self.prices.request_usd(input_tokens, output_tokens, self.tier)

    def exposed_usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """What one request may cost at most, even if the provider counts its input otherwise than we do."""
        return self.reserve_usd(input_tokens * self.most_input_factor, output_tokens)

    def charge(self, answer: Answer, input_tokens: int, reserved_usd: Decimal) -> Charge:
        """What an answer cost: by its own usage, and by our count of the tokens that it doesn't tell."""
        is_named = answer.service_tier is not None and not self.is_tier_fixed
        tier = answer.service_tier if is_named else self.tier
        usage = self._usage(answer, input_tokens)
        cost_usd = stored_usd(self.prices.price(usage, tier, answer.usage.cache_write_tokens))
        uncertain_usd = ZERO if answer.usage.output_tokens is not None else max(ZERO, reserved_usd - cost_usd)
        return Charge(usage, cost_usd, uncertain_usd)

    def _usage(self, answer: Answer, input_tokens: int) -> Usage:
        """The tokens of an answer, those that the provider left out counted here."""
        told, thought = answer.usage, 0
        if answer.thinking and (told.output_tokens is None or told.reasoning_tokens is None):
            thought = self.count_tokens(answer.thinking)
        total_input = told.input_tokens if told.input_tokens is not None else input_tokens
        output = told.output_tokens
        if output is None:
            output = thought + sum(
                self.count_tokens(text) for text in (answer.text, answer.refusal) if text is not None
            )
        reasoning = told.reasoning_tokens if told.reasoning_tokens is not None else thought
        return Usage(
            total_input,
            min(told.cached_input_tokens, total_input),
            output,
            min(reasoning, output),
            is_estimated=not told.is_complete,
        )
