"""Client CPU for 1,000 rows: the whole of Promptmill beside two loops over the same requests, in one run.

`python -m benchmarks lean` asks a zero-latency local server for 200,000 rows of about 300 characters, 100 in flight, strict
schema on. Beside it run
- the wire: a bare aiohttp loop that posts the same bytes, which were written down before, and drops the answers;
- the SDK: `AsyncOpenAI` with its default client, a semaphore and gather, which keeps nothing; over the first 10,000 rows.
Promptmill's figure includes Python's start, Prefect's client, templates, counting, validation, checkpoints, Parquet and
the report; the Prefect server and the provider run in processes of their own and count for neither.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.rig import MODEL, SCHEMA, prefect_server, provider, report, run_command, write_job, write_reviews
from promptmill.job.file import load_job
from promptmill.planning.prepared_job import prepare

ROWS = 200_000
SDK_ROWS = 10_000  # at about 5 ms of CPU a row, more would only take longer
CONCURRENCY = 100

SDK_LOOP = """
import asyncio, json, sys
import pyarrow.parquet as pq
from openai import AsyncOpenAI

async def main(path, rows, model, schema, concurrency):
    client, places = AsyncOpenAI(), asyncio.Semaphore(concurrency)
    form = {"type": "json_schema", "json_schema": {"name": "response", "schema": schema, "strict": True}}
    async def ask(text):
        async with places:
            answer = await client.chat.completions.create(
                model=model,
                messages=[{"role": "system", "content": "You label reviews."},
                          {"role": "user", "content": f"Review: {text}"}],
                response_format=form, max_completion_tokens=64)
            return json.loads(answer.choices[0].message.content)
    texts = pq.read_table(path)["text"].to_pylist()[:rows]
    answers = await asyncio.gather(*(ask(text) for text in texts))
    print(len(answers))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]), int(sys.argv[5])))
"""

WIRE_LOOP = """
import asyncio, os, sys
import aiohttp

async def main(path, concurrency):
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
    with open(path, "rb") as bodies:
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=concurrency)) as session:
            async def post():
                for body in bodies:
                    async with session.post(url, data=body.rstrip()) as answer:
                        await answer.read()
                        answer.raise_for_status()
            await asyncio.gather(*(post() for _ in range(concurrency)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def main(rows: str = str(ROWS), turns: str = "2") -> None:
    """Measure all three, one after the other, several times, and compare the best of each."""
    sdk_rows = min(int(rows), SDK_ROWS)
    with (
        tempfile.TemporaryDirectory() as name,
        prefect_server(Path(name) / "prefect") as api_url,
        provider() as base_url,
    ):
        data, bodies = Path(name) / "rows.parquet", Path(name) / "bodies.jsonl"
        write_reviews(data, int(rows))
        write_bodies(bodies, write_job(Path(name), data))
        sdk, wire, ours = [], [], []
        for turn in range(int(turns)):
            sdk.append(
                _cpu_seconds(base_url, SDK_LOOP, data, sdk_rows, MODEL, json.dumps(SCHEMA), CONCURRENCY) / sdk_rows
            )
            wire.append(_cpu_seconds(base_url, WIRE_LOOP, bodies, CONCURRENCY) / int(rows))
            folder = Path(name) / str(turn)
            folder.mkdir()
            run = run_command(write_job(folder, data), base_url, api_url)
            if run.exit_code or run.manifest["succeeded"] != int(rows):
                raise SystemExit(f"the run failed: {run}")
            ours.append(run.cpu_seconds / int(rows))
        report(
            "lean",
            rows=int(rows),
            ratio=round(min(ours) / min(sdk), 3),
            ratio_to_wire=round(min(ours) / min(wire), 2),
            promptmill_cpu_seconds_a_1000=_a_thousand(ours),
            wire_cpu_seconds_a_1000=_a_thousand(wire),
            sdk_cpu_seconds_a_1000=_a_thousand(sdk),
        )


def write_bodies(path: Path, job: Path) -> None:
    """The body of each row's request as Promptmill sends it, a line each."""
    prepared = prepare(load_job(str(job), {}), date(2026, 11, 24))
    with path.open("wb") as lines:
        for table in prepared.dataset.read(10_000, {"id", "text"}):
            for row in table.to_pylist():
                lines.write(prepared.builder.first_body(prepared.builder.build(row, row["id"])) + b"\n")


def _a_thousand(seconds_a_row: list[float]) -> list[float]:
    """CPU seconds for 1,000 rows, of each turn."""
    return [round(seconds * 1_000, 3) for seconds in seconds_a_row]


def _cpu_seconds(base_url: str, source: str, *arguments: object) -> float:
    """CPU seconds of a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)],
        env={**os.environ, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "benchmark"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
