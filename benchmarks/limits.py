"""The provider's limit is what holds a run up, not us: the share of it that a run uses, and of attempts answered 429.

`python -m benchmarks limits` runs four times about three minutes against a simulated provider with 50 ms latency: a limit
on requests and one on tokens, each given in the job, and each told by the headers alone.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.rig import get_json, prefect_server, provider, report, run_command, write_job, write_reviews

SECONDS = 190
REQUESTS = 6_000
TOKENS = 900_000  # at about 160 tokens a request, some 5,600 requests a minute
AMPLE = 100_000_000


def main(*cases: str) -> None:
    """Measure the named cases, by default all."""
    settings: dict[str, dict[str, Any]] = {
        "requests-given": {"rpm": REQUESTS, "tpm": AMPLE, "given": True},
        "tokens-given": {"rpm": 1_000_000, "tpm": TOKENS, "given": True},
        "requests-learned": {"rpm": REQUESTS, "tpm": AMPLE, "given": False},
        "tokens-learned": {"rpm": 1_000_000, "tpm": TOKENS, "given": False},
    }
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name) / "prefect") as api_url:
        for case in cases or settings:
            _measure(case, Path(name) / case, api_url, **settings[case])


def _measure(case: str, folder: Path, api_url: str, rpm: int, tpm: int, given: bool) -> None:
    rows = folder / "rows.parquet"
    write_reviews(rows, REQUESTS * SECONDS // 60)
    limits = {"requests_per_minute": rpm, "tokens_per_minute": tpm} if given else {}
    job = write_job(folder, rows, limits={"max_concurrency": 100, **limits})
    options = {
        "requests_per_minute": rpm,
        "tokens_per_minute": tpm,
        "latency_seconds": 0.05,
        "token_accounting": "actual",
    }
    with provider(**options) as base_url:
        run = run_command(job, base_url, api_url)
        root = base_url.removesuffix("/v1")
        used = _share_used(get_json(f"{root}/_simulator/timeline"), rpm, tpm)
        counters = get_json(f"{root}/_simulator/ledger")["counters"]
    refused = counters.get("rate_limit_429", 0) / max(1, counters["attempts"])
    report(
        f"limits/{case}",
        used_percent=round(100 * used, 2),
        answered_429_percent=round(100 * refused, 3),
        rows=run.manifest.get("rows"),
        seconds=round(run.seconds, 1),
    )


def _share_used(timeline: dict[str, Any], rpm: int, tpm: int) -> float:
    """The share of the tighter limit that a run used, over the whole seconds between its first request and its last."""
    requests, tokens = _busy(timeline["requests"]), _busy(timeline["tokens"])
    return max(60 * statistics.fmean(requests) / rpm, 60 * statistics.fmean(tokens) / tpm)


def _busy(seconds: list[float]) -> list[float]:
    active = [number for number, amount in enumerate(seconds) if amount]
    return seconds[active[0] + 1 : active[-1]]


if __name__ == "__main__":
    main(*sys.argv[1:])
