"""Shows an audit as a table for people and as JSON values."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from promptmill.audit.bounds import Audit

HEADER = ("", "rows", "known US$", "at most, beside it", "saved US$")


def audit_values(audit: Audit, tags: Mapping[str, str]) -> dict[str, Any]:
    """The audit as JSON values, money as decimal strings without exponent. `tags` are the job's tags."""
    return {
        "tags": dict(tags),
        "known_usd": _exact(audit.known_usd),
        "at_most_usd": _exact(audit.at_most_usd),
        "rows": [
            {
                "name": row.name,
                "rows": row.rows,
                "known_usd": _exact(row.known_usd),
                "at_most_usd": _exact(row.at_most_usd),
                "saved_usd": None if row.saved_usd is None else _exact(row.saved_usd),
                "is_part": row.is_part,
            }
            for row in audit.rows
        ],
        "batches": [
            {
                "id": check.batch_id,
                "told_tokens": list(check.told_tokens),
                "counted_tokens": list(check.counted_tokens),
                "difference_usd": _exact(check.difference_usd),
                "uncertain_usd": _exact(check.uncertain_usd),
            }
            for check in audit.batches
        ],
        "unreadable_files": audit.unreadable_files,
    }


def audit_lines(values: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """The table's lines below `HEADER`, made of an audit's JSON values (as in a manifest); the last line is the sum."""
    lines = [
        (
            f"  of that, {row['name']}" if row["is_part"] else str(row["name"]),
            f"{row['rows']:,}" if row["rows"] else "",
            _shown(row["known_usd"]),
            _shown(row["at_most_usd"]),
            "" if row["saved_usd"] is None else _shown(row["saved_usd"]),
        )
        for row in values["rows"]
    ]
    known, at_most = Decimal(values["known_usd"]), Decimal(values["at_most_usd"])
    return [*lines, ("in all", "", _shown(str(known)), _shown(str(at_most - known)), "")]


def batch_lines(values: dict[str, Any]) -> list[str]:
    """A sentence for each batch whose own usage differs from the sum of its lines."""
    return [
        f"batch {batch['id']}: the provider's usage of the whole batch is {_tokens(batch['told_tokens'])}, its lines add up "
        f"to {_tokens(batch['counted_tokens'])}: ${Decimal(batch['difference_usd']):,.6f} more, of which lost lines may be "
        f"${Decimal(batch['uncertain_usd']):,.6f}."
        for batch in values["batches"]
        if batch["told_tokens"] != batch["counted_tokens"]
    ]


def _tokens(tokens: list[int]) -> str:
    return f"{tokens[0]:,} tokens in and {tokens[1]:,} out"


def _exact(usd: Decimal) -> str:
    return f"{usd.normalize():f}" if usd else "0"


def _shown(usd: str) -> str:
    amount = Decimal(usd)
    return f"{amount:,.6f}" if amount else ""
