"""An hour of pacing in milliseconds, and what a minute of it took at most."""

from benchmarks.virtual_clock import run_on_clock

__all__ = ["run_on_clock", "sliding_most"]


def sliding_most(times: list[tuple[float, float]], seconds: float = 60.0) -> float:
    """The most that was taken in any window of so many seconds, ends included at its start only."""
    most, total, first = 0.0, 0.0, 0
    for at, amount in times:
        total += amount
        while times[first][0] <= at - seconds:
            total -= times[first][1]
            first += 1
        most = max(most, total)
    return most
