"""What the pages promise, and whether the figures of this run hold it: the end of `python -m benchmarks`.

A promise names the words of its page, which a test looks for, and the figure that holds it up to a bound. One whose
benchmark didn't run is shown as not measured.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal

from benchmarks.start import BUDGETS, FIRST_LINE_SECONDS, SILENCE_SECONDS

Line = Mapping[str, Any]  # what a benchmark reported; `benchmark` is its name
_Verdict = Literal["holds", "doesn't hold", "not measured"]


@dataclass(frozen=True, slots=True)
class Promise:
    """A sentence that a figure can prove wrong."""

    page: str
    words: str  # as the page has them
    lines: str  # names of the benchmark's lines, a pattern
    figure: str  # its key in them; dots go deeper
    at_most: float | None = None
    at_least: float | None = None

    @property
    def bound(self) -> str:
        """The bound as a person reads it."""
        return f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"

    def holds(self, figure: float) -> bool:
        """Whether a figure is within the bound."""
        return (self.at_most is None or figure <= self.at_most) and (self.at_least is None or figure >= self.at_least)


_BROKEN: _Verdict = "doesn't hold"
_SIZE = "A run takes about 400 MB, whatever the number of rows"
_LIMIT = "The provider's limit bounds most runs, and not the machine."
_SHARED = "exceeds the provider's limit in no minute"
_PAID = "no stored answer is paid for twice"
_LOST = "no row is lost"
_CAP = "the money has a hard cap"
_KILL = "A `kill -9` costs at most the requests in flight"
_AUTO = "a run finds out how many requests the provider takes well"
_STEP = "A step costs what has changed since the last one"
_START = "as ratios to `import typer`; fails above 3, 8, 12 and 30"
_SILENCE = "seconds until a command's first line in a terminal, and its longest silence; fails above 0.5 and 2"
_LEAN = "the whole of Promptmill beside a bare `AsyncOpenAI` loop"
_PUBLISHED = "A finished run is published at 100 MB/s at least, in memory that doesn't grow with the rows."
_BIGGER, _DEPLOYING = "docs/guides/bigger-machine.md", "docs/deploying.md"

PROMISES = (
    Promise("README.md", _LOST, "campaign", "lost", at_most=0),
    Promise("README.md", _LOST, "campaign", "doubled", at_most=0),
    Promise("README.md", _PAID, "campaign", "paid_twice", at_most=0),
    Promise("README.md", _PAID, "resume/*", "sent", at_most=0),
    Promise("README.md", _CAP, "campaign", "over_cap", at_most=0),
    Promise("docs/nothing-is-lost.md", _KILL, "campaign", "failing", at_most=0),
    Promise(_DEPLOYING, _SIZE, "flat/*", "peak_mb", at_most=450),
    Promise(_DEPLOYING, _SIZE, "flat", "ratio", at_most=1.1),
    Promise(_DEPLOYING, _SIZE, "batch/*", "peak_mb", at_most=450),
    Promise(_DEPLOYING, _SIZE, "batch", "ratio", at_most=1.1),
    Promise(_DEPLOYING, _SIZE, "deployed/memory", "peak_mb.100%", at_most=450),
    Promise(_DEPLOYING, _SHARED, "shared/*", "most_in_a_minute_percent", at_most=100),
    Promise(_DEPLOYING, _SHARED, "deployed/limit", "most_in_a_minute_percent", at_most=100),
    Promise(_DEPLOYING, "none of them 5xx", "deployed/server", "answered_5xx", at_most=0),
    Promise(_BIGGER, _LIMIT, "limits/*", "used_percent", at_least=97),
    Promise(_BIGGER, _LIMIT, "limits/*", "answered_429_percent", at_most=1),
    Promise(_BIGGER, _AUTO, "in_flight/crowded-*", "refused_percent", at_most=5),
    Promise(_BIGGER, _AUTO, "in_flight/hanging", "ratio", at_least=0.9),
    Promise(_BIGGER, _AUTO, "in_flight/account", "used_percent_after_a_minute", at_least=90),
    Promise("docs/batches.md", _STEP, "steps/*", "no_news.cpu_seconds", at_most=3),
    Promise("benchmarks/README.md", _LEAN, "lean", "ratio", at_most=1),
    Promise("benchmarks/README.md", _PUBLISHED, "publishing", "megabytes_a_second", at_least=100),
    Promise("benchmarks/README.md", _PUBLISHED, "publishing", "memory_ratio", at_most=1.1),
    *(
        Promise("benchmarks/README.md", _START, "start", f"ratios.{what}", at_most=most)
        for what, most in BUDGETS.items()
    ),
    Promise("benchmarks/README.md", _SILENCE, "start", "first_line_seconds", at_most=FIRST_LINE_SECONDS),
    Promise("benchmarks/README.md", _SILENCE, "start", "longest_silence_seconds", at_most=SILENCE_SECONDS),
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A promise beside what was measured."""

    promise: Promise
    figure: float | None  # the worst of all lines; None: its benchmark didn't run
    verdict: _Verdict


def judge(promises: Sequence[Promise], reported: Sequence[Line]) -> list[Judged]:
    """Each promise by the worst figure that was reported for it."""
    found: list[Judged] = []
    for promise in promises:
        figures = list(_figures(promise, reported))
        worst = (min if promise.at_most is None else max)(figures, default=None)
        verdict = "not measured" if worst is None else "holds" if promise.holds(worst) else _BROKEN
        found.append(Judged(promise, worst, verdict))
    return found


def _figures(promise: Promise, reported: Sequence[Line]) -> Iterator[float]:
    for line in reported:
        if fnmatch(line["benchmark"], promise.lines):
            value: Any = line
            for key in promise.figure.split("."):
                value = value.get(key) if isinstance(value, Mapping) else None
            if isinstance(value, (int, float)):
                yield float(value)
            elif isinstance(value, list):  # of what was bad
                yield len(value)


def show_promises(reported: Sequence[Line], say: Callable[[str], object]) -> None:
    """Say which promises hold, which don't, and which this run didn't measure, by the sentence that makes them."""
    say("\nWhat the pages promise")
    before: tuple[str, str] | None = None
    found = judge(PROMISES, reported)
    for judged in found:
        promise = judged.promise
        said = (promise.page, promise.words)
        if said != before:
            say(f"\n  {promise.page}: {promise.words}")
        before = said
        measured = "" if judged.figure is None else f" {judged.figure:g}"
        say(f"    {judged.verdict:<12}  {promise.lines} {promise.figure}{measured} ({promise.bound})")
    counts = Counter(judged.verdict for judged in found)
    say(f"\n{counts['holds']} hold, {counts[_BROKEN]} don't hold, {counts['not measured']} weren't measured.")
