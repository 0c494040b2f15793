"""What the deployments need on a Prefect server: work pool, block types, checkpoint storage, automations, limits.

`python deployments/bootstrap.py` makes what is missing and may be run again; `--check` only says what differs and exits 1.
Secrets are taken from the environment into blocks, and nowhere else: `--provider NAME` keeps OPENAI_API_KEY together with
OPENAI_BASE_URL, so that who can start a run can't send the key to another host.
"""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from prefect.automations import Automation
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from tasks.persistence import STORAGE_NAME, CheckpointStorage
from tasks.provider import ProviderCredentials

DEFAULT_POOL = "promptmill"
DEAD_RUNS = "promptmill-dead-runs"
HEARTBEAT_SECONDS = 180  # of Prefect's own default, prefect/settings/models/flows.py, 3.8.8
MISSED_HEARTBEATS = 3
BURST_SECONDS = 5.0  # of a shared limit: what it may hand out at once


@dataclass(frozen=True, slots=True)
class Need:
    """Something that must be on the server."""

    name: str
    is_there: Callable[[], Awaitable[bool]]
    make: Callable[[], Awaitable[object]]


def work_pool(client: PrefectClient, name: str, kind: str) -> Need:
    """The pool that the workers take runs from."""

    async def is_there() -> bool:
        try:
            await client.read_work_pool(name)
        except ObjectNotFound:
            return False
        return True

    return Need(f"work pool {name}", is_there, lambda: client.create_work_pool(WorkPoolCreate(name=name, type=kind)))


def checkpoints() -> Need:
    """The block that chunk tasks keep their records by."""

    async def is_there() -> bool:
        try:
            await CheckpointStorage.aload(STORAGE_NAME)
        except ValueError:
            return False
        return True

    return Need(f"block {STORAGE_NAME}", is_there, lambda: CheckpointStorage().asave(STORAGE_NAME, overwrite=True))


def provider(name: str) -> Need:
    """A provider's key together with its address, from the environment."""
    key = os.environ.get("OPENAI_API_KEY")

    async def is_there() -> bool:
        try:
            block = await ProviderCredentials.aload(name)
        except ValueError:
            return False
        return key is None or block.api_key.get_secret_value() == key

    async def make() -> None:
        if key is None:
            raise SystemExit(f"the provider block {name!r} needs OPENAI_API_KEY in the environment. Export it.")
        block = ProviderCredentials(
            api_key=SecretStr(key),
            base_url=os.environ.get("OPENAI_BASE_URL"),
            organization=os.environ.get("OPENAI_ORG_ID"),
            project=os.environ.get("OPENAI_PROJECT_ID"),
            default_headers={},
        )
        await block.asave(name, overwrite=True)

    return Need(f"provider block {name}", is_there, make)


def provider_type(client: PrefectClient) -> Need:
    """The type of the credentials block, so that one can be made in the UI."""

    async def is_there() -> bool:
        try:
            await client.read_block_type_by_slug(ProviderCredentials.get_block_type_slug())
        except ObjectNotFound:
            return False
        return True

    return Need(
        "block type Promptmill Provider", is_there, lambda: ProviderCredentials.register_type_and_schema(client=client)
    )


def dead_runs(client: PrefectClient) -> Need:
    """Runs whose process is gone become Crashed once their heartbeats are missed; Prefect alone leaves them Running."""

    async def is_there() -> bool:
        return bool(await client.read_automations_by_name(DEAD_RUNS))

    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.*"},
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=HEARTBEAT_SECONDS * MISSED_HEARTBEATS),
    )
    action = ChangeFlowRunState(
        state=StateType.CRASHED, name="Crashed", message=f"No heartbeat for {HEARTBEAT_SECONDS * MISSED_HEARTBEATS} s."
    )
    automation = Automation(name=DEAD_RUNS, trigger=trigger, actions=[action], enabled=True)
    return Need(f"automation {DEAD_RUNS}", is_there, automation.acreate)


def shared_limit(client: PrefectClient, name: str, per_minute: float) -> Need:
    """A limit that several processes lease blocks of (limits.shared)."""
    slots, decay = max(1, round(per_minute / 60 * BURST_SECONDS)), per_minute / 60

    async def is_there() -> bool:
        try:
            found = await client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            return False
        return found.limit == slots and abs(found.slot_decay_per_second - decay) < 1e-6

    wanted = GlobalConcurrencyLimitCreate(name=name, limit=slots, slot_decay_per_second=decay)
    return Need(f"limit {name}", is_there, lambda: _replace(client, wanted))


async def _replace(client: PrefectClient, wanted: GlobalConcurrencyLimitCreate) -> None:
    with contextlib.suppress(ObjectNotFound):
        await client.delete_global_concurrency_limit_by_name(wanted.name)
    await client.create_global_concurrency_limit(wanted)


def needs(client: PrefectClient, options: argparse.Namespace) -> list[Need]:
    """All that is needed, in the order in which it is made."""
    pool = os.environ.get("PROMPTMILL_WORK_POOL") or DEFAULT_POOL
    found = [work_pool(client, pool, options.pool_type), provider_type(client), checkpoints(), dead_runs(client)]
    found.extend(provider(name) for name in options.provider)
    for text in options.limit:
        name, _, amounts = text.partition("=")
        requests, _, tokens = amounts.partition(",")
        found.append(shared_limit(client, f"{name}-requests", float(requests)))
        found.append(shared_limit(client, f"{name}-tokens", float(tokens)))
    return found


async def bootstrap(options: argparse.Namespace) -> int:
    """Make what is missing, or only name it; returns the exit code."""
    missing = 0
    async with get_client() as client:
        for need in needs(client, options):
            if await need.is_there():
                print(f"ok       {need.name}")
                continue
            missing += 1
            if not options.check:
                await need.make()
            print(f"{'missing ' if options.check else 'made    '} {need.name}")
    return 1 if options.check and missing else 0


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What Promptmill needs on a Prefect server.")
    parser.add_argument("--check", action="store_true", help="only say what differs; exit 1 if anything does")
    parser.add_argument("--pool-type", default="process", help="process, docker, kubernetes, …")
    parser.add_argument("--provider", action="append", default=[], metavar="NAME", help="save a credentials block")
    parser.add_argument(
        "--limit", action="append", default=[], metavar="NAME=REQUESTS,TOKENS", help="a shared limit, both a minute"
    )
    raise SystemExit(asyncio.run(bootstrap(parser.parse_args())))


if __name__ == "__main__":
    main()
