"""A part of a run, where several processes answer it together: shards of one dataset."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Share:
    """What one process takes on of a run: a range of its chunks, a part of its limits and of its money."""

    index: int  # 0 = first
    count: int  # of all shares of the run
    first: int  # chunk
    stop: int  # chunk after the last
    budget_usd: Decimal | None  # that this share may spend, all its attempts together
    spend: str  # name of the record of what it may have spent

    @property
    def part(self) -> float:
        """The part of those limits a minute that nobody leases: they hold for all shares together."""
        return 1 / self.count
