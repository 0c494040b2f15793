"""Prices tokens: US dollars of a `Usage`, by model and tier, as `Decimal`, never rounded.

The job's own `pricing` comes first, else genai-prices' dated tables for OpenAI. A run reads them once, because a look-up
takes about 100 microseconds. We price the job's model and not the name in the answer, which may be dated, an alias or a
deployment's; the price was agreed on before the run.
If genai-prices knows no price for a tier, it silently gives the standard price. We detect that, use a cautious rule
instead, and say so in the price list (`PriceList.assumptions`).
Batch is half of standard (OpenAI's Batch guide), priority twice at most (its pricing page); read 2026-11-24.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, get_args

import genai_prices
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from promptmill.errors import JobError
from promptmill.job.spec import Pricing
from promptmill.records import Usage

Tier = Literal["standard", "batch", "flex", "priority"]
TIERS: tuple[Tier, ...] = get_args(Tier)
_PROBE_TOKENS = 1_000  # below every threshold; a power of ten, so that the division is exact
_STORED_STEP_USD = Decimal("1e-12")  # as fine as the money column of answers; a job's own prices may be finer
_MOST_STORED_USD = Decimal("999999.999999999999")  # the most that this column holds: decimal128(18, 12)
_NOTHING_USD = Decimal(0)
_KNOWN_NAMES = 50  # names of tiers whose price we remember

CONTEXTS: Mapping[Tier, Mapping[str, str]] = {
    "standard": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
_MISSING_TIERS: Mapping[Tier, tuple[Decimal, str]] = {  # times the standard price, if the table has no price for a tier
    "batch": (Decimal("0.5"), "half the standard price is assumed"),
    "flex": (Decimal(1), "the standard price is assumed"),  # half where there is one; the dearer guess is the safe one
    "priority": (Decimal(2), "twice the standard price is assumed"),
}
_ECHOED_TIERS: Mapping[str, Tier] = {  # `service_tier` of an answer
    "standard": "standard",
    "default": "standard",
    "auto": "standard",
    "scale": "standard",
    "on_demand": "standard",
    "batch": "batch",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}

log = logging.getLogger("promptmill")


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars a token."""

    input: Decimal
    cached_input: Decimal
    cache_write: Decimal  # input that the provider stores for later
    output: Decimal

    def times(self, factor: Decimal) -> "Rates":
        """All rates multiplied by a factor; without trailing zeros."""
        rates = (self.input, self.cached_input, self.cache_write, self.output)
        return Rates(*((rate * factor).normalize() for rate in rates))


@dataclass(frozen=True, slots=True)
class TierPrice:
    """One tier's rates; above `threshold` input tokens the whole request has others."""

    rates: Rates
    threshold: int | None = None  # tokens; OpenAI's long context begins above 272,000
    long_rates: Rates | None = None

    def at(self, input_tokens: int) -> Rates:
        """The rates of a request with so many input tokens."""
        if self.threshold is None or input_tokens <= self.threshold or self.long_rates is None:
            return self.rates
        return self.long_rates


class PriceList:
    """The prices of one model, by tier. A tier is one of ours, or the `service_tier` of an answer; None is standard."""

    def __init__(
        self,
        label: str,
        tiers: Mapping[Tier, TierPrice],
        assumptions: Mapping[Tier, str] | None = None,
        context_tokens: int | None = None,
    ) -> None:
        self.context_tokens = context_tokens  # that the model reads at most, where the table knows it
        self.label = label  # source and date of the prices
        self.assumptions = assumptions or {}  # tier without a price → a sentence about the price that we use
        self._by_echo: dict[str | None, TierPrice] = {name: tiers[tier] for name, tier in _ECHOED_TIERS.items()}
        self._by_echo[None] = tiers["standard"]
        self._dearest = max(tiers.values(), key=lambda tier: (tier.rates.input, tier.rates.output))

    def price(self, usage: Usage, tier: str | None = "standard", cache_write_tokens: int = 0) -> Decimal:
        """US dollars of one answered request; an unknown tier costs as much as the dearest.

        `cache_write_tokens` are the input tokens that the provider says it stored, if it charges for that.
        """
        rates = self._price_of(tier).at(usage.input_tokens)
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        written = min(cache_write_tokens, usage.input_tokens - cached)
        plain = usage.input_tokens - cached - written
        cost = plain * rates.input + cached * rates.cached_input + usage.output_tokens * rates.output
        return cost if written == 0 else cost + written * rates.cache_write  # without the digits of a rate not applied

    def tokens_usd(self, input_tokens: int, output_tokens: int, tier: str | None = "standard") -> Decimal:
        """US dollars of these tokens over many requests, none cached, each request below the long-context threshold."""
        rates = self._price_of(tier).rates
        return input_tokens * rates.input + output_tokens * rates.output

    def request_usd(self, input_tokens: int, output_tokens: int, tier: str | None = "standard") -> Decimal:
        """US dollars to reserve for one request with at most these tokens, none cached."""
        rates = self._price_of(tier).at(input_tokens)
        return input_tokens * rates.input + output_tokens * rates.output

    def dearest_usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """US dollars of one request at whatever tier costs most, all of its input stored where that costs more."""
        found = [price.at(input_tokens) for price in self._by_echo.values()]
        input_rate = max(max(rates.input, rates.cached_input, rates.cache_write) for rates in found)
        return input_tokens * input_rate + output_tokens * max(rates.output for rates in found)

    def assumption_of(self, tier: object) -> str | None:
        """Our assumption about a tier's price; None if the table knows it."""
        return self.assumptions.get(_ECHOED_TIERS[tier]) if isinstance(tier, str) and tier in _ECHOED_TIERS else None

    def _price_of(self, tier: str | None) -> TierPrice:
        try:
            return self._by_echo[tier]
        except KeyError:
            if len(self._by_echo) < _KNOWN_NAMES:  # a provider that always names new tiers doesn't fill the log
                log.warning("the service tier %r has no known price; the dearest is taken", tier)
                self._by_echo[tier] = self._dearest
            return self._dearest


def requested_tier(parameters: Mapping[str, object]) -> str | None:
    """The `service_tier` in a job's parameters; None if they name none."""
    tier = parameters.get("service_tier")
    return tier if isinstance(tier, str) and tier else None


def stored_usd(amount: Decimal) -> Decimal:
    """An amount in the form of stored answers: rounded to 12 decimals, and at most what the money column can hold.

    Only a wrong price reaches this bound, which is almost a million dollars for one row.
    """
    return max(_NOTHING_USD, min(amount, _MOST_STORED_USD)).quantize(_STORED_STEP_USD)


def prices_for(model: str, pricing: Pricing | None, at: datetime | None = None) -> PriceList:
    """The price list of a model: the job's own `pricing`, else the table's prices at a time (default: now).

    Raises: JobError if neither knows the model; an unknown price is never zero.
    """
    if pricing is not None:
        return _own_prices(pricing)
    at = at or datetime.now(UTC)
    found = _find(model, at)
    if found is None:
        raise JobError(
            f"the model {model!r} has no known price; genai-prices {genai_prices.__version__} lists OpenAI's own "
            "models by name, not fine-tuned ones, deployments or those of other providers. Of a deployment, write the model's "
            "own name as request.model and the deployment's as request.deployment. For any other model, "
            "add `pricing: {input_per_mtok: …, output_per_mtok: …}` to the job (0 for a model that costs nothing)."
        )
    tiers: dict[Tier, TierPrice] = {tier: _tier_price(found, tier, at) for tier in TIERS}
    assumed: dict[Tier, str] = {tier: _assumption(model, tier) for tier in TIERS if not _has_variant(found, tier, at)}
    label = f"genai-prices {genai_prices.__version__}, {found.id}, as of {at:%Y-%m-%d}"
    return PriceList(label, tiers, assumed, found.context_window)


def _own_prices(pricing: Pricing) -> PriceList:
    cached = pricing.input_per_mtok if pricing.cached_input_per_mtok is None else pricing.cached_input_per_mtok
    per_mtok = Rates(pricing.input_per_mtok, cached, pricing.input_per_mtok, pricing.output_per_mtok)
    standard = per_mtok.times(Decimal("1e-6"))
    tiers: dict[Tier, TierPrice] = {tier: TierPrice(standard) for tier in TIERS}
    tiers["batch"] = TierPrice(standard.times(1 - pricing.batch_discount))
    return PriceList("the job's own pricing", tiers)


def _find(model: str, at: datetime) -> ModelInfo | None:
    """The table's entry for an OpenAI model with a price by tokens."""
    if model.lower().startswith("ft:"):
        return None
    try:
        found = genai_prices.calc_price(genai_prices.Usage(input_tokens=1), model, provider_id="openai")
    except LookupError:
        return None
    return found.model if found.model.get_prices(at).input_mtok is not None else None


def _has_variant(model: ModelInfo, tier: Tier, at: datetime) -> bool:
    """Whether the table has its own price for a tier; without one it silently gives the standard price."""
    return tier == "standard" or any(
        variant.when == CONTEXTS[tier]
        and (variant.constraint is None or variant.constraint.active(at))
        and getattr(variant.prices, "input_mtok", None) is not None
        for variant in model.price_variants or ()
    )


def _assumption(model: str, tier: Tier) -> str:
    return f"the table has no {tier} price for {model}; {_MISSING_TIERS[tier][1]}"


def _tier_price(model: ModelInfo, tier: Tier, at: datetime) -> TierPrice:
    prices = model.get_prices(at, CONTEXTS[tier])
    factor = Decimal(1) if _has_variant(model, tier, at) else _MISSING_TIERS[tier][0]
    starts = _thresholds(prices)
    if not starts:
        return TierPrice(_rates_of(prices, 0).times(factor))
    if len(starts) > 1:
        raise JobError(
            f"the price of {model.id!r} changes at {len(starts)} lengths of the input; at most 1 is understood. "
            "Add `pricing` to the job."
        )
    return TierPrice(_rates_of(prices, 0).times(factor), starts[0], _rates_of(prices, starts[0]).times(factor))


def _thresholds(prices: ModelPrice) -> list[int]:
    fields = (prices.input_mtok, prices.cache_read_mtok, prices.cache_write_mtok, prices.output_mtok)
    return sorted({tier.start for field in fields if isinstance(field, TieredPrices) for tier in field.tiers})


def _rates_of(prices: ModelPrice, above: int) -> Rates:
    """The rates of a request of more than `above` input tokens, as genai-prices itself charges them."""
    base = _cost(prices, input_tokens=above + 1)
    more = above + 1 + _PROBE_TOKENS
    return Rates(
        (_cost(prices, input_tokens=more) - base) / _PROBE_TOKENS,
        (_cost(prices, input_tokens=more, cache_read_tokens=_PROBE_TOKENS) - base) / _PROBE_TOKENS,
        (_cost(prices, input_tokens=more, cache_write_tokens=_PROBE_TOKENS) - base) / _PROBE_TOKENS,
        (_cost(prices, input_tokens=above + 1, output_tokens=_PROBE_TOKENS) - base) / _PROBE_TOKENS,
    )


def _cost(prices: ModelPrice, **tokens: int) -> Decimal:
    return prices.calc_price(genai_prices.Usage(**tokens))["total_price"]
