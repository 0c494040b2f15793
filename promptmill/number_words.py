"""How we write numbers for people: the same in the panel, the summary, the report and the Prefect UI. Pure."""

from datetime import datetime
from decimal import Decimal


def count(value: float) -> str:
    """1,234,567; from ten million on 12.3M."""
    return f"{value:,.0f}" if abs(value) < 10_000_000 else compact(value)


def amount(value: float) -> str:
    """A figure of any size: 1,234, 12.35, 0.0123."""
    if value >= 1_000 or value == int(value):
        return count(value)
    return f"{value:,.2f}" if value >= 1 else usd(value).removeprefix("$")


def compact(value: float) -> str:
    """Three digits and a letter: 950, 1.25k, 12.3M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """A share of 1 as 12.3 %; 0 % and 100 % only if it is exactly that."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    return f"{min(max(share * 100, 0.1), 99.9):.1f} %"


def usd(amount: Decimal | float) -> str:
    """$1,234.50, $0.4123, $0.000012: cents above a dollar, four digits that matter below."""
    value = float(amount)
    if value == 0:
        return "$0"
    if abs(value) >= 1:
        return f"${value:,.2f}"
    digits = next(places for places in range(4, 13) if abs(value) >= 10.0 ** (3 - places) or places == 12)
    return f"${value:.{digits}f}"


def duration(seconds: float) -> str:
    """0.8 s, 12 s, 3 min 12 s, 1 h 04 min, 2 d 3 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def seconds(value: float) -> str:
    """A latency: 45 ms, 1.23 s, 75 s."""
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.3g} s"


def clock(time: datetime) -> str:
    """2026-11-24 04:13 UTC."""
    return f"{time:%Y-%m-%d %H:%M} UTC"
