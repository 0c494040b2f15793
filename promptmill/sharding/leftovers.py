"""Finds and ends shards that an earlier run over an output left at work, without a Prefect server."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from promptmill.checkpoints.store import Store
from promptmill.errors import PromptmillError, SetupError
from promptmill.sharding.folder import ShardFolder, folders
from promptmill.storage import Storage

PULSE_SECONDS = 2.0  # between two pulses of a run, and between two looks of a shard at the pulse
_PULSED_SECONDS = 20.0  # shards on a cluster need this long to miss the pulse and to finish their requests


async def left_folders(store: Store, kept: str | None = None) -> list[ShardFolder]:
    """The folders with a plan, except the one at the URL `kept`. A folder without a plan holds only amounts to count."""
    return await asyncio.to_thread(
        lambda: [folder for folder in folders(store) if folder.plan_url != kept and folder.has_plan()]
    )


async def end_pulsed(left: Sequence[ShardFolder]) -> list[ShardFolder]:
    """End the shards that follow their run's pulse, as on a cluster; returns the folders of all other shards."""
    others: list[ShardFolder] = []
    for folder in left:
        if await asyncio.to_thread(folder.pulse) is None:
            others.append(folder)
            continue
        await asyncio.to_thread(folder.stop_beating)
        await _wait_for_ends(folder)
    return others


async def end_strays_alone(store: Store, output: Storage, kept: str | None = None) -> None:
    """Without a Prefect server, end the shards that earlier runs left at work, and remove their folders.

    Raises: SetupError if shards may be at work on a server.
    """
    left = await left_folders(store, kept)
    if others := await end_pulsed(left):
        raise SetupError(
            f"an earlier run over {output.shown} was split into shards that may still be at work on its Prefect "
            "server; PREFECT_API_URL isn't set here, and both would pay for the same rows. Set it to that server, or, if "
            f"nothing is at work there any more, remove {others[0].plan_url.rpartition('/')[0]}."
        )
    for folder in left:
        await asyncio.to_thread(folder.remove)


async def _wait_for_ends(folder: ShardFolder) -> None:
    plan = await asyncio.to_thread(folder.read_plan)
    waited = 0.0
    while plan is not None and waited < _PULSED_SECONDS:
        if await asyncio.to_thread(_have_all_ended, folder, len(plan.bounds)):
            return
        await asyncio.sleep(PULSE_SECONDS)
        waited += PULSE_SECONDS


def _have_all_ended(folder: ShardFolder, shards: int) -> bool:
    """Whether every shard left an outcome."""
    with suppress(PromptmillError):
        return all(folder.read_outcome(shard, 1) is not None for shard in range(shards))
    return False
