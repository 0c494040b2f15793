"""The figures of a run in words: the command's summary, the report's cards and the artifact in the Prefect UI show these.

One function words each number, so that no two places can say it differently; all of them are read off the manifest.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from promptmill.number_words import count, duration, percent, usd
from promptmill.output.manifest import Manifest

_ORDERS = 6  # to a run, named beside their number
_KINDS = 3  # of failures, named beside their number; the report lists all


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a run with its name, and what else is to be said of it."""

    name: str
    value: str
    detail: str = ""

    @property
    def line(self) -> str:
        """Value and detail in one line."""
        return f"{self.value} ({self.detail})" if self.detail else self.value


def figures(manifest: Manifest) -> list[Figure]:
    """What a run did."""
    pace = manifest.requests_sent / manifest.seconds if manifest.seconds else 0.0
    return [
        Figure("rows", count(manifest.rows), _taken(manifest)),
        Figure("succeeded", count(manifest.succeeded), percent(manifest.succeeded / max(1, manifest.rows))),
        Figure("failed", count(manifest.failed), _failures(manifest)),
        Figure("cost", usd(manifest.cost_usd), _expected(manifest)),
        Figure("tokens in", count(manifest.input_tokens), f"{count(manifest.cached_input_tokens)} cached"),
        Figure("tokens out", count(manifest.output_tokens), _reasoning(manifest)),
        Figure("requests", count(manifest.requests_sent), _attempts(manifest)),
        Figure("time", duration(manifest.seconds), f"{count(pace)} requests/s{_describe_limits(manifest.limited_by)}"),
        *([Figure("told", count(len(manifest.steering)), _told(manifest))] if manifest.steering else []),
        *accuracies(manifest),
    ]


def accuracies(manifest: Manifest) -> list[Figure]:
    """How often the answers agree with the known ones, for each column that is compared (output.compare)."""
    return [
        Figure(f"accuracy of {name}", percent(found["accuracy"]), f"of {count(found['compared'])} rows compared")
        for name, found in (manifest.accuracy or {}).items()
        if found["compared"]
    ]


def _taken(manifest: Manifest) -> str:
    """The rows that were answered without a request of their own."""
    return ", ".join(
        [
            f"{count(manifest.reused)} reused from earlier runs",
            *([f"{count(manifest.shared)} took another row's answer"] if manifest.shared else []),
            *([f"{count(manifest.cached)} answered by the cache"] if manifest.cached else []),
        ]
    )


def _failures(manifest: Manifest) -> str:
    kinds = list(manifest.failures_by_kind.items())
    named = [f"{count(rows)} {kind}" for kind, rows in kinds[:_KINDS]]
    more = [f"{len(kinds) - _KINDS} more kinds"] if len(kinds) > _KINDS else []
    return ", ".join([percent(manifest.failed / max(1, manifest.rows)), *named, *more])


def _expected(manifest: Manifest) -> str:
    estimate = [] if manifest.estimated_cost_usd is None else [f"estimated {usd(manifest.estimated_cost_usd)}"]
    budget = [] if manifest.budget_usd is None else [f"budget {usd(manifest.budget_usd)}"]
    return ", ".join([*estimate, *budget])


def _attempts(manifest: Manifest) -> str:
    again = [f"retries {describe_retries(manifest.retries_by_kind)}"] if manifest.retries_by_kind else []
    return ", ".join([f"{count(manifest.attempts)} attempts", *again])


def describe_retries(by_kind: Mapping[str, int]) -> str:
    """How many attempts another one followed, by kind of failure: "15: 12 rate_limited (429), 3 timeout"."""
    kinds = [
        f"{count(times)} {kind}{' (429)' if kind == 'rate_limited' else ''}"
        for kind, times in list(by_kind.items())[:_KINDS]
    ]
    more = [f"{len(by_kind) - _KINDS} more kinds"] if len(by_kind) > _KINDS else []
    return f"{count(sum(by_kind.values()))}: {', '.join([*kinds, *more])}"


def _told(manifest: Manifest) -> str:
    """What people told the run while it was under way."""
    orders = [f"{told.what} by {told.by} at {told.at:%H:%M}" for told in manifest.steering[:_ORDERS]]
    more = [f"{len(manifest.steering) - _ORDERS} more"] if len(manifest.steering) > _ORDERS else []
    return ", ".join([*orders, *more])


def _reasoning(manifest: Manifest) -> str:
    return f"{count(manifest.reasoning_tokens)} of them reasoning" if manifest.reasoning_tokens else ""


def _describe_limits(limited_by: Mapping[str, float]) -> str:
    """Which limit held the run up, for the line below its time; empty where none did."""
    if not limited_by:
        return ""
    limit, share = next(iter(limited_by.items()))
    return f", limited by {limit} ({percent(share)} of the time)"
