"""What an audit says of a round's output, beside the provider's bill."""

from collections.abc import Sequence
from decimal import Decimal

from benchmarks.campaign.books import PRICING, Books
from benchmarks.campaign.draw import Round
from benchmarks.campaign.jobs import OUTPUT_TOKENS, Place
from benchmarks.campaign.judge import Audited, Ran
from benchmarks.rig import MODEL
from promptmill.audit.bounds import audit_of
from promptmill.audit.records import read_books
from promptmill.checkpoints.store import Store
from promptmill.job.spec import Pricing
from promptmill.limits.pricing import prices_for
from promptmill.storage import Storage

_BLOCK = Decimal("1.125")  # a bound is written an eighth higher than is needed (promptmill/limits/exposure.py)


def audited(drawn: Round, place: Place, books: Books, ran: Sequence[Ran]) -> Audited:
    """The audit now; call it while no request is on its way."""
    found = audit_of(
        read_books(Store(Storage(str(place.output / "_checkpoints")))),
        prices_for(MODEL, Pricing.model_validate(PRICING)),
    )
    interruptions = sum(one.exit_code != 0 for one in ran)
    at_risk = interruptions * drawn.repeated_at_most * _BLOCK + books.unread()
    widest_usd = at_risk * OUTPUT_TOKENS if drawn.mode == "online" else None
    return Audited(found.known_usd, books.spent_usd(), found.at_most_usd, widest_usd)
