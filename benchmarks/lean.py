"""Client CPU for 1,000 rows: the whole of Promptmill beside a bare loop over the same requests, in one run.

`python -m benchmarks lean` asks a zero-latency local server for 20,000 rows of about 300 characters, 100 in flight,
strict schema on. The bare loop is `AsyncOpenAI` with its default client, a semaphore and gather, and keeps nothing.
Promptmill's figure includes Python's start, Prefect's client, templates, counting, validation, checkpoints, Parquet and
the report; the Prefect server and the provider run in processes of their own and count for neither.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.rig import prefect_server, provider, report, run_command, write_job, write_reviews

ROWS = 20_000
CONCURRENCY = 100

BARE_LOOP = """
import asyncio, json, sys
import pyarrow.parquet as pq
from openai import AsyncOpenAI

async def main(path, model, schema, concurrency):
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
    texts = pq.read_table(path)["text"].to_pylist()
    answers = await asyncio.gather(*(ask(text) for text in texts))
    print(len(answers))

asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])))
"""


def main(rows: str = str(ROWS)) -> None:
    """Measure both, one after the other, twice, and compare the better of each."""
    with (
        tempfile.TemporaryDirectory() as name,
        prefect_server(Path(name) / "prefect") as api_url,
        provider() as base_url,
    ):
        data = Path(name) / "rows.parquet"
        write_reviews(data, int(rows))
        bare, ours = [], []
        for turn in range(2):
            bare.append(_bare(data, base_url))
            folder = Path(name) / str(turn)
            folder.mkdir()
            run = run_command(write_job(folder, data), base_url, api_url)
            if run.exit_code or run.manifest["succeeded"] != int(rows):
                raise SystemExit(f"the run failed: {run}")
            ours.append(run.cpu_seconds)
        per = 1_000 / int(rows)
        report(
            "lean",
            rows=int(rows),
            bare_cpu_seconds_a_1000=round(min(bare) * per, 3),
            promptmill_cpu_seconds_a_1000=round(min(ours) * per, 3),
            ratio=round(min(ours) / min(bare), 3),
            all_bare=[round(seconds, 2) for seconds in bare],
            all_promptmill=[round(seconds, 2) for seconds in ours],
        )


def _bare(data: Path, base_url: str) -> float:
    """CPU seconds of the bare loop."""
    from benchmarks.rig import MODEL, SCHEMA

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", BARE_LOOP, str(data), MODEL, json.dumps(SCHEMA), str(CONCURRENCY)],
        env={**os.environ, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "benchmark"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
