"""The command that removes answers which an output no longer needs."""

import asyncio
from typing import TYPE_CHECKING

from flows.command import console
from promptmill.batch.live import refuse_rows_in_batches
from promptmill.checkpoints.output_turn import Asking, releasing, take_turn_at
from promptmill.checkpoints.removal import remove_answers
from promptmill.checkpoints.store import Store
from promptmill.output.cleaning import find_stale
from promptmill.planning.opened_job import CHECKPOINTS, open_output

if TYPE_CHECKING:
    from promptmill.output.cleaning import Stale


def clean_output(url: str, *, is_dry: bool, as_json: bool) -> None:
    """Remove, or only count, the answer files that have no answer of the output.

    Raises: OutputError, JobError, StorageFailed.
    """
    stale = asyncio.run(_clean(url, is_dry=is_dry))
    files = len(stale.names)
    done = "would be removed" if is_dry else "removed"
    console.say(
        f"{files:,} files with {stale.answers:,} answers, {stale.bytes:,} bytes, {done}."
        if files
        else "Nothing to remove: the output has every kept answer."
    )
    if as_json:
        console.print_json({"files": files, "answers": stale.answers, "bytes": stale.bytes, "removed": not is_dry})


async def _clean(url: str, *, is_dry: bool) -> "Stale":
    """Clean when no run works on the output."""
    output = open_output(url)
    store = Store(output.folder(CHECKPOINTS))
    async with releasing(await take_turn_at(store.storage, Asking("promptmill clean", tell=console.say))):
        await asyncio.to_thread(refuse_rows_in_batches, store, url)
        stale = await asyncio.to_thread(find_stale, output, store)
        if not is_dry:
            await asyncio.to_thread(remove_answers, store, stale.names)
        return stale
