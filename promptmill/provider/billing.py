"""What a request may cost, and what its answer did cost. Pure.

A provider that tells no usage, or one that can't be right, has billed the request all the same: the answer then costs
what was reserved for it, so that the cap on money holds, and its tokens are our own count.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from promptmill.limits.pricing import PriceList, stored_usd
from promptmill.provider.response_body import Answer
from promptmill.records import Usage


@dataclass(frozen=True, slots=True)
class Charge:
    """What one answer took."""

    usage: Usage
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Billing:
    """The prices of one job and one way to send it."""

    prices: PriceList
    tier: str | None  # that the job asks for; "batch" for batches
    count_tokens: Callable[[str], int]
    is_tier_fixed: bool = False  # the tier that an answer names changes nothing, as in batches

    def reserve_usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """What to set aside for one request."""
        return self.prices.request_usd(input_tokens, output_tokens, self.tier)

    def charge(self, answer: Answer, input_tokens: int, reserved_usd: Decimal) -> Charge:
        """What an answer cost: by its own usage where it tells it, else our count of its tokens and the reservation."""
        if answer.usage is None:
            said = sum(self.count_tokens(text) for text in (answer.text, answer.refusal) if text is not None)
            return Charge(Usage(input_tokens, 0, said), stored_usd(reserved_usd))
        is_named = answer.service_tier is not None and not self.is_tier_fixed
        tier = answer.service_tier if is_named else self.tier
        return Charge(answer.usage, stored_usd(self.prices.price(answer.usage, tier, answer.cache_write_tokens)))
