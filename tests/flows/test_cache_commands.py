"""`promptmill cache stats | prune | import` and `promptmill clean`, as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from promptmill.cache.segments import segments
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tests.support.billing import billed
from tests.support.commands import command
from tests.support.jobs import MakeJob, carry_out, plan

ROWS = 20


def typed(*words: str | Path, base_url: str | None = None) -> tuple[int, Any, str]:
    """A command's exit code, the JSON that it printed and what it said."""
    process = command(*words, "--json", api_url="", base_url=base_url)
    printed, said = process.communicate(timeout=60)
    return process.returncode, json.loads(printed.splitlines()[-1]) if printed else None, said


async def test_an_output_is_imported_once_and_then_answers_another(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
):
    cache = tmp_path / "cache"
    await carry_out(make_job(ROWS, output__url=str(tmp_path / "a")), credentials)
    first = typed("cache", "import", tmp_path / "a", "--cache", cache, base_url=simulator.base_url)
    again = typed("cache", "import", tmp_path / "a", "--cache", cache, "--base-url", simulator.base_url)
    counted = typed("cache", "stats", cache)
    pruned = typed("cache", "prune", cache, "--older-than", "30")
    run = plan(make_job(ROWS, cache=str(cache), output__url=str(tmp_path / "b")), credentials)

    assert (first[:2], again[:2]) == ((0, {str(tmp_path / "a"): ROWS}), (0, {str(tmp_path / "a"): 0}))
    assert (counted[1]["entries"], counted[1]["segments"], counted[1]["unreadable"]) == (ROWS, 1, [])
    assert (pruned[0], len(segments(Storage(str(cache), None)))) == (0, 1)
    assert run.preflight.plan.cached == ROWS
    assert billed(simulator, "default") == ROWS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(("cache", "stats"), "no cache is named", id="no-cache"),
        pytest.param(("cache", "stats", "nothing://x"), "can't be opened", id="unknown-protocol"),
        pytest.param(
            ("cache", "import", "{tmp}/none", "--cache", "{tmp}/c"), "no run has finished there", id="no-output"
        ),
        pytest.param(("clean", "{tmp}/none"), "no run has finished there", id="nothing-to-clean"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(words: tuple[str, ...], expected: str, tmp_path: Path):
    code, _, said = typed(*(word.replace("{tmp}", str(tmp_path)) for word in words))

    assert (code, expected in said, "Traceback" in said) == (2, True, False), said


async def test_clean_removes_what_old_prompts_left_and_nothing_that_the_output_needs(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, tmp_path: Path
):
    for prompt in ("One: {{ text }}", "Two: {{ text }}", "Three: {{ text }}"):
        job = make_job(ROWS, output__url=str(tmp_path / "a"), request__user=prompt, chunk_rows=5)
        await carry_out(job, credentials, overwrite=True)
    before = kept_files(tmp_path)
    dry = typed("clean", tmp_path / "a", "--dry-run")
    still = kept_files(tmp_path)
    done = typed("clean", tmp_path / "a")
    again = typed("clean", tmp_path / "a")
    (tmp_path / "a" / "_manifest.json").unlink()
    manifest = await carry_out(job, credentials)

    assert (len(before), still) == (12, before)
    assert (dry[1]["files"], done[1]["files"], done[1]["answers"], again[1]["files"]) == (8, 8, 2 * ROWS, 0)
    assert (manifest.reused, billed(simulator, "default")) == (ROWS, 3 * ROWS)


def kept_files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "a" / "_checkpoints").glob("*.parquet"))
