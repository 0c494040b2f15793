"""Shows the progress of all children of a run in one line. Pure."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from promptmill.number_words import count, duration, usd
from promptmill.standalone.messages import Counts


def describe_crew(
    counts: Sequence[Counts], at_work: int, rows: int, budget_usd: Decimal | None, pause: str | None
) -> str:
    """The progress of all children together, of `rows` rows in all."""
    if all(one == Counts() for one in counts):
        return f"{len(counts)} processes start · rows 0 of {count(rows)}"
    done, a_second = sum(one.done for one in counts), sum(one.rows_per_second for one in counts)
    failed, spent = sum(one.failed for one in counts), sum((one.spent_usd for one in counts), Decimal(0))
    cap = "" if budget_usd is None else f" of {usd(budget_usd)}"
    limits = Counter(one.limited_by for one in counts if one.limited_by is not None).most_common(1)
    left = f"{duration((rows - done) / a_second)} left" if a_second > 0 else ""
    parts = [
        f"{at_work} processes",
        f"rows {count(done)} of {count(rows)}",
        f"failed {count(failed)}" if failed else "",
        f"{a_second:,.1f} rows/s",
        f"{sum(one.tokens_per_minute for one in counts):,.0f} tokens/min",
        f"{count(sum(one.in_flight for one in counts))} in flight, {count(sum(one.waiting for one in counts))} waiting",
        f"limited by {limits[0][0]}" if limits else "",
        f"{usd(spent)}{cap}",
        left,
        pause or "",
    ]
    return " · ".join(part for part in parts if part)
