"""What one process paid for, as far as no answer file says it: the record that an audit reads.

`known + at most` has to hold the provider's bill even if the process is killed, so the record says beforehand how much may
be at risk: `exposed_usd` is an upper bound of what is in flight or answered and not saved yet. The process writes a higher
bound before it sends more than the bound covers (limits/exposure.py).
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated

from pydantic import Field

Usd = Annotated[Decimal, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Account:
    """The money of one process, from its first request on. Amounts that are known are so as of the last write."""

    began_at: float  # seconds since the epoch
    is_closed: bool = False  # the process ended in order; otherwise it was killed, or is at work
    spent_usd: Usd = _ZERO  # what the provider said its answers took, lost ones included
    lost_usd: Usd = _ZERO  # of that, answers that belong to no saved row
    retried_usd: Usd = _ZERO  # of that, answers that wouldn't do, so that the row was asked again
    retried: Count = 0  # such answers
    uncertain_usd: Usd = _ZERO  # at most, of attempts that brought nothing to read and may be billed
    uncertain: Count = 0  # such attempts
    exposed_usd: Usd = _ZERO  # at most, of what is in flight or not saved yet
    in_flight: Count = 0  # requests at once, at most
    tags: dict[str, str] = field(default_factory=dict[str, str])  # of the job
