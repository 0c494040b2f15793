"""What the run hears of a child that speaks out of turn: its last words hold no secret, and no line is too long."""

import asyncio
import sys

import pytest

from promptmill.provider.transport import Credentials
from promptmill.sharding.plan import Outcome
from promptmill.standalone.children import Child
from promptmill.standalone.messages import Counts, outcome_line

KEY = "sk-child-0123456789abcdef"
LINE_BYTES = 4096


async def said(code: str) -> tuple[Child, Outcome | None, list[Counts]]:
    """What a process that runs this code told a run."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-S",
        "-c",
        code,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    child = Child(process, Credentials(api_key=KEY, base_url="https://api.example.com/v1"), None)
    counts: list[Counts] = []
    return child, await child.until_end(counts.append), counts


async def test_the_last_words_of_a_child_that_died_hold_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="promptmill")
    child, outcome, _ = await said(f"import sys; sys.exit('refused: Bearer {KEY}')")
    assert outcome is None
    assert child.describe_death() == "exit code 1: refused: [redacted]"
    assert KEY not in caplog.text


@pytest.mark.parametrize("pipe", ["stdout", "stderr"])
async def test_a_line_that_is_too_long_to_hold_is_left_out_and_what_follows_is_heard(pipe: str) -> None:
    end = outcome_line(Outcome(None, None)).decode()
    child, outcome, _ = await said(f"import sys; print('x' * {LINE_BYTES * 40}, file=sys.{pipe}); print({end!r})")
    assert outcome == Outcome(None, None)
    assert child.describe_death().startswith("exit code 0")
