"""`python -m benchmarks campaign`: rounds from seeds, a line for each, and a summary with the figures.

`--rounds N` rounds from `--seed S` on, their seeds S, S+1, …; `--only SEED` repeats one, with `--kinds KIND` as its line
says. A round that fails makes the exit code 1, and its files are kept.
"""

import argparse
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.campaign import plain
from benchmarks.campaign.books import Books
from benchmarks.campaign.draw import KINDS, SERVED, Round, draw_round
from benchmarks.campaign.jobs import BATCH_SECONDS, Place
from benchmarks.campaign.judge import KILLED, History, Verdict, judge
from benchmarks.rig import provider, report


@dataclass(slots=True)
class _Sums:
    """Sums over all rounds."""

    rounds: Counter[str] = field(default_factory=Counter[str])  # by kind
    figures: Counter[str] = field(default_factory=Counter[str])
    most_repeated: tuple[int, int] = (0, 0)  # of one round with kills: rows paid again, and what its kills allow
    failing: list[str] = field(default_factory=list[str])

    def add(self, drawn: Round, history: History, verdict: Verdict) -> None:
        """Count a round."""
        self.rounds[drawn.kind] += 1
        self.figures.update(
            {
                "rows": len(history.bodies),
                "lost": verdict.lost,
                "doubled": verdict.doubled,
                "paid_twice": verdict.paid_twice,
                "repeated": verdict.repeated,
                "repeated_at_most": verdict.repeated_at_most,
                "killed": sum(ran.exit_code == KILLED for ran in history.ran),
                "interruptions": verdict.interruptions,
                "caps": history.budget_usd is not None,
                "over_cap": history.budget_usd is not None and history.spent_usd > history.budget_usd,
                "left_behind": len(history.left),
                "audits": len(history.audits),
            }
        )
        if verdict.repeated > self.most_repeated[0]:
            self.most_repeated = (verdict.repeated, verdict.repeated_at_most)
        if verdict.findings:
            self.failing.append(f"--only {drawn.seed} --kinds {drawn.kind}")


def main(*arguments: str) -> None:
    """Play the rounds. Raises: SystemExit when one failed."""
    options = _parser().parse_args(arguments)
    kinds = tuple(options.kinds.split(","))
    if unknown := sorted({*kinds} - {*KINDS}):
        raise SystemExit(f"there is no kind {', '.join(unknown)}; there are {', '.join(KINDS)}.")
    seeds = [options.only] if options.only is not None else range(options.seed, options.seed + options.rounds)
    sums = _Sums()
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="promptmill-campaign-") as name:
        player = _Player(Path(name), Path(options.keep), stack)
        for seed in seeds:
            player.play(draw_round(seed, kinds), sums)
    report(
        "campaign",
        rounds=sums.rounds.total(),
        by_kind=dict(sums.rounds),
        **sums.figures,
        most_repeated_in_a_round=sums.most_repeated[0],
        of_at_most=sums.most_repeated[1],
        failing=sums.failing,
    )
    if sums.failing:
        raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks campaign", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--only", type=int, default=None, metavar="SEED", help="one round, of this seed")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds to draw from, with commas between them")
    parser.add_argument("--keep", default="campaign-failures", help="where the files of failing rounds are kept")
    return parser


class _Player:
    """Plays rounds one after the other, with one provider for those that need no Prefect server."""

    def __init__(self, folder: Path, keep: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._keep = keep
        self._stack = stack
        self._books: Books | None = None
        self._overhead: dict[tuple[str, bool], float] = {}  # mode, is_command → seconds of a run beside the provider's
        self._served: Callable[[Round, Place], History] | None = None

    def play(self, drawn: Round, sums: _Sums) -> None:
        """Play a round, judge it and say so in a line."""
        place, began = Place(self._folder / f"{drawn.kind}-{drawn.seed}"), time.monotonic()
        place.folder.mkdir()
        try:
            history = self._play_served(drawn, place) if drawn.kind in SERVED else self._play_plain(drawn, place)
        except plain.NotHere as reason:
            print(f"{drawn.seed} {drawn.kind}: left out, {reason}", flush=True)
            return
        verdict = judge(history)
        sums.add(drawn, history, verdict)
        print(_line(drawn, history, verdict, time.monotonic() - began), flush=True)
        if verdict.findings:
            shutil.copytree(place.folder, self._keep / place.folder.name, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(place.folder)

    def _play_plain(self, drawn: Round, place: Place) -> History:
        if self._books is None:
            self._books = Books(self._stack.enter_context(provider()))
        way = (drawn.mode, drawn.is_command)
        if way not in self._overhead:
            self._overhead[way] = self._measure(drawn, self._books)
        return plain.play(drawn, place, self._books, self._overhead[way] + _provider_seconds(drawn))

    def _measure(self, drawn: Round, books: Books) -> float:
        """How much longer than its provider a round without faults takes."""
        way = "standalone-" if drawn.is_command else ""
        quiet = replace(drawn, kind=f"{way}{drawn.mode}-kill", faults=(), budget_share=None)
        seconds = 0.0
        for name in ("first", "second"):  # the first one starts the process from which all others are forked
            place = Place(self._folder / f"{name}-{quiet.kind}")
            seconds = plain.play(quiet, place, books, 0.0, is_faulty=False).ran[0].seconds
        return max(0.1, seconds - _provider_seconds(drawn))

    def _play_served(self, drawn: Round, place: Place) -> History:
        if self._served is None:
            from benchmarks.campaign.served import open_stage

            self._served = self._stack.enter_context(open_stage(self._folder / "served"))
        return self._served(drawn, place)


def _provider_seconds(drawn: Round) -> float:
    """How long the provider takes for all rows, as far as we know beforehand."""
    if drawn.mode == "batch":
        return BATCH_SECONDS
    return drawn.rows * drawn.latency_seconds / min(drawn.max_concurrency, drawn.chunks_in_flight * drawn.chunk_rows)


def _line(drawn: Round, history: History, verdict: Verdict, seconds: float) -> str:
    faults = ", ".join(f"{fault.what} at {fault.at:.2f} of the {fault.by}" for fault in drawn.faults)
    codes = " ".join(str(ran.exit_code) for ran in history.ran)
    well = "; ".join(verdict.findings) if verdict.findings else "well"
    repeated = f"{verdict.repeated} of at most {verdict.repeated_at_most} paid again"
    return (
        f"{drawn.seed} {drawn.kind}: {len(history.bodies)} rows, {faults}; exit codes {codes}; {repeated}; "
        f"{seconds:.1f} s: {well}"
    )
