"""Lists what Promptmill needs on a Prefect server: for each need, how to check it and how to make it.

`deployments/bootstrap.py` makes what is missing; `promptmill doctor` names it.
"""

import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from prefect.automations import Automation
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from promptmill.errors import SetupError
from tasks.server.automations import crashed_runs, dead_runs, unanswered_runs
from tasks.server.checkpoint_storage import STORAGE_NAME, CheckpointStorage
from tasks.server.credentials import ProviderCredentials
from tasks.server.shared_limit import slots_of
from tasks.server.work_pool import Pool

_DEFAULT_POOL = "promptmill"
_PROVIDER_VARIABLES = {
    "api_key": "OPENAI_API_KEY",
    "base_url": "OPENAI_BASE_URL",
    "api_version": "OPENAI_API_VERSION",
    "organization": "OPENAI_ORG_ID",
    "project": "OPENAI_PROJECT_ID",
}


@dataclass(frozen=True, slots=True)
class Need:
    """A thing that must be on the server."""

    name: str
    is_there: Callable[[], Awaitable[bool]]
    make: Callable[[], Awaitable[object]]


async def _exists(reading: Awaitable[object], absent: type[Exception]) -> bool:
    try:
        await reading
    except absent:
        return False
    return True


def _work_pool(client: PrefectClient, name: str, kind: str | None = None, image: str | None = None) -> Need:
    """The pool from which workers take runs."""
    pool = Pool(client, name, kind, image)
    return Need(f"work pool {name}", pool.is_there, pool.make)


def _checkpoints() -> Need:
    """The block through which chunk tasks keep their records."""

    async def is_there() -> bool:
        return await _exists(CheckpointStorage.aload(STORAGE_NAME), ValueError)

    return Need(f"block {STORAGE_NAME}", is_there, lambda: CheckpointStorage().asave(STORAGE_NAME, overwrite=True))


def provider(name: str) -> Need:
    """A block with a provider's key and its address, both from the environment.

    What the environment doesn't set stays as it is in the block, but a new key never keeps an old address.
    """
    named = {field: os.environ.get(variable) or None for field, variable in _PROVIDER_VARIABLES.items()}
    given = {field: value for field, value in named.items() if value is not None}

    async def found() -> ProviderCredentials | None:
        try:
            return await ProviderCredentials.aload(name)
        except ValueError:
            return None

    async def is_there() -> bool:
        block = await found()
        return block is not None and {field: _plain(getattr(block, field)) for field in given} == given

    async def make() -> None:
        block = await found()
        if block is None and named["api_key"] is None:
            raise SystemExit(f"the provider block {name!r} needs OPENAI_API_KEY in the environment. Export it.")
        kept = {} if block is None else {field: getattr(block, field) for field in (*named, "default_headers")}
        is_new_key = named["api_key"] not in {None, _plain(kept.get("api_key"))}
        block = ProviderCredentials.model_validate({**kept, **(named if is_new_key else given)})
        await block.asave(name, overwrite=True)

    return Need(f"provider block {name}", is_there, make)


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _provider_type(client: PrefectClient) -> Need:
    """The type of the credentials block, so that people can make one in the UI."""

    async def is_there() -> bool:
        return await _exists(client.read_block_type_by_slug(ProviderCredentials.get_block_type_slug()), ObjectNotFound)

    async def make() -> None:
        await ProviderCredentials.register_type_and_schema(client=client)  # pyright: ignore[reportGeneralTypeIssues]

    return Need("block type Promptmill Provider", is_there, make)


def automation(client: PrefectClient, wanted: Automation) -> Need:
    """An automation on the server. Making it replaces one with the same name but another trigger or action."""

    async def is_there() -> bool:
        found = await client.read_automations_by_name(wanted.name)
        return len(found) == 1 and _rule(found[0]) == _rule(wanted)

    async def make() -> None:
        for found in await client.read_automations_by_name(wanted.name):
            await client.delete_automation(found.id)
        await wanted.acreate()

    return Need(f"automation {wanted.name}", is_there, make)


def _rule(automation: AutomationCore) -> tuple[object, object]:
    """The trigger and actions of an automation, without whether somebody disabled it."""
    actions = [action.model_dump() for action in automation.actions]
    return automation.trigger.model_dump(exclude={"id"}), actions


def _shared_limit(client: PrefectClient, name: str, per_minute: float) -> Need:
    """A limit that several processes share by leasing blocks (limits.shared)."""
    slots, decay = slots_of(per_minute), per_minute / 60

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


def pool_name() -> str:
    """The pool that PROMPTMILL_WORK_POOL names."""
    return os.environ.get("PROMPTMILL_WORK_POOL") or _DEFAULT_POOL


def needs(
    client: PrefectClient,
    pool_type: str | None = None,
    providers: Sequence[str] = (),
    limits: Sequence[str] = (),
    image: str | None = None,
) -> list[Need]:
    """Everything that Promptmill needs, in the order to make it; a limit is NAME=REQUESTS,TOKENS a minute."""
    found = [
        _work_pool(client, pool_name(), pool_type, image),
        _provider_type(client),
        _checkpoints(),
        *(automation(client, wanted) for wanted in (dead_runs(), crashed_runs(), unanswered_runs())),
    ]
    found.extend(provider(name) for name in providers)
    for text in limits:
        found.extend(_shared_limit(client, limit, per_minute) for limit, per_minute in parse_limit(text))
    return found


def parse_limit(text: str) -> list[tuple[str, float]]:
    """NAME=REQUESTS,TOKENS → the two limits' names and amounts a minute. Raises: SetupError."""
    name, _, amounts = text.partition("=")
    requests, _, tokens = amounts.partition(",")
    try:
        found = [(f"{name}-requests", float(requests)), (f"{name}-tokens", float(tokens))]
    except ValueError:
        found = []
    if not name or not found or min(amount for _, amount in found) <= 0:
        raise SetupError(
            f"--limit {text!r} isn't of the form NAME=REQUESTS,TOKENS, both a minute and above 0, such as "
            "--limit luna=6000,2000000. Fix it."
        )
    return found
