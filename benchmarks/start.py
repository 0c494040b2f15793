"""CPU of the command at its start, as ratios to `python -c "import typer"` measured in the same run.

`python -m benchmarks start` measures each in turn, several times over, and compares the medians: the whole process tree of
the command counts, the simulated provider doesn't. It also measures in a terminal how long a command says nothing, in
seconds, which a busy machine makes longer. It ends with exit code 1 where a ratio or a silence is above its budget.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.rig import provider, report, write_job, write_reviews
from benchmarks.silence import Heard, listen

ROWS = 200
BUDGETS = {"help": 3.0, "misspelt key": 8.0, "finished run": 12.0, "whole run": 30.0}
FIRST_LINE_SECONDS, SILENCE_SECONDS = 0.5, 2.0
_ROUNDS = 5
_BASE = [sys.executable, "-c", "import typer"]


def main(rounds: str = str(_ROUNDS)) -> None:
    """Measure all of them, and hold each against its budget."""
    with tempfile.TemporaryDirectory() as name, provider() as base_url:
        folder = Path(name)
        measured = _measure(folder, base_url, int(rounds))
        heard = [_hear(folder, base_url, number) for number in range(int(rounds))]
    base = median(measured.pop("base"))
    ratios = {what: round(median(seconds) / base, 1) for what, seconds in measured.items()}
    first, longest = median(each.first for each in heard), median(each.longest for each in heard)
    report(
        "start",
        rows=ROWS,
        import_typer_cpu_seconds=round(base, 3),
        ratios=ratios,
        budgets=BUDGETS,
        first_line_seconds=round(first, 2),
        longest_silence_seconds=round(longest, 2),
    )
    over = [what for what, ratio in ratios.items() if ratio > BUDGETS[what]]
    over += ["first line"] if first > FIRST_LINE_SECONDS else []
    over += ["silence"] if longest > SILENCE_SECONDS else []
    if over:
        raise SystemExit(f"above their budgets: {', '.join(over)}")


def _measure(folder: Path, base_url: str, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each, one a round."""
    data = folder / "rows.parquet"
    write_reviews(data, ROWS)
    wrong = folder / "wrong.yaml"
    found: dict[str, list[float]] = {"base": [], **{what: [] for what in BUDGETS}}
    for number in range(rounds):
        own = folder / str(number)
        own.mkdir()
        job = write_job(own, data)
        wrong.write_text(f"{job.read_text()}\nmodle: x\n")
        run = [sys.executable, "-m", "flows", "run"]
        found["base"].append(_cpu_seconds(_BASE, base_url))
        found["help"].append(_cpu_seconds([*run[:3], "--help"], base_url))
        found["misspelt key"].append(_cpu_seconds([*run, str(wrong)], base_url, exit_code=2))
        found["whole run"].append(_cpu_seconds([*run, str(job)], base_url))
        found["finished run"].append(_cpu_seconds([*run, str(job)], base_url))
    return found


def _hear(folder: Path, base_url: str, number: int) -> Heard:
    """A whole run, in a terminal."""
    own = folder / f"heard-{number}"
    own.mkdir()
    job = write_job(own, folder / "rows.parquet")
    return listen([sys.executable, "-m", "flows", "run", str(job)], _environment(base_url))


def _environment(base_url: str) -> dict[str, str]:
    """An environment without a Prefect server."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return environment | {"OPENAI_API_KEY": "benchmark", "OPENAI_BASE_URL": base_url}


def _cpu_seconds(words: list[str], base_url: str, exit_code: int = 0) -> float:
    """CPU of a process and of all that it waited for, without a Prefect server."""
    environment = _environment(base_url)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode != exit_code:
        raise SystemExit(f"{words} ended with {ended.returncode}: {ended.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
