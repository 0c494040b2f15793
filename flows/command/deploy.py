"""Runs `promptmill deploy`: makes the work pool and everything else on the server, and the deployments of prefect.yaml.

That file lies beside the flows in a checkout and in a wheel.

Each deployment names its flow by module, so that a worker needs no checkout: the package is enough.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flows.command import console
from promptmill.errors import SetupError
from tasks.prefect_internals.server_address import server_address
from tasks.server.parts import POOL_SETTING
from tasks.server.working_folder import enter_home

_FILE = Path(__file__).parents[2] / "prefect.yaml"
_FLOWS = __name__.removesuffix(".command.deploy")  # `promptmill.flows` where the wheel is installed


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """A person's options for `promptmill deploy`."""

    job_url: str | None = None  # job file of the deployments that always run the same job
    directory: str | None = None  # folder in which a worker starts runs; None: the current one
    pool_type: str | None = None
    image: str | None = None
    providers: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()  # NAME=REQUESTS,TOKENS


def deploy_all(options: DeployOptions) -> None:
    """Make the missing parts on the server, and deploy. Raises: SetupError if no server is named or if it refuses."""
    if server_address() is None:
        raise SetupError(
            "deployments live on a Prefect server, and PREFECT_API_URL names none. Start one that stays (prefect server "
            "start) and name it: export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    console.prepare_prefect()
    from tasks.server.resources import pool_name
    from tasks.server.temporary_server import some_server

    with some_server():
        asyncio.run(_make_needs(options))
        wanted = deployed_file(yaml.safe_load(_FILE.read_text("utf-8")), _FLOWS, options.job_url)
        home = {"directory": options.directory or str(Path.cwd())}
        _deploy({**wanted, "pull": [{f"{enter_home.__module__}.{enter_home.__name__}": home}]}, pool_name())
    console.say("To answer its runs: promptmill worker (PROMPTMILL_ALLOWED_URLS lists what they may use)")


async def _make_needs(options: DeployOptions) -> None:
    from prefect.client.orchestration import get_client

    from tasks.server.resources import needs

    async with get_client() as client:
        for need in needs(client, options.pool_type, options.providers, options.limits, options.image):
            is_there = await need.is_there()
            if not is_there:
                await need.make()
            console.say(f"{'there' if is_there else 'made '} {need.name}")


def deployed_file(found: Mapping[str, Any], flows: str, job_url: str | None) -> dict[str, Any]:
    """prefect.yaml with each flow named by its module in the package `flows`, and with the user's job.

    Without a job, schedules and triggers of the deployments with one job are off.
    """
    return {**found, "deployments": [_deployment(values, flows, job_url) for values in found["deployments"]]}


def _deployment(values: Mapping[str, Any], flows: str, job_url: str | None) -> dict[str, Any]:
    path, _, name = values["entrypoint"].partition(":")
    changed = {**values, "entrypoint": f"{flows}.{Path(path).stem}.{name}"}
    if "job_url" not in values.get("parameters", {}):
        return changed
    changed["parameters"] = {**values["parameters"], "job_url": job_url}
    if job_url is None:
        del changed["parameters"]["job_url"]
        if "triggers" in values:
            changed["triggers"] = [{**trigger, "enabled": False} for trigger in values["triggers"]]
    return changed


def _deploy(wanted: Mapping[str, Any], pool: str) -> None:
    """Deploy by Prefect's own command, which writes into no folder of ours. Raises: SetupError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prefect.yaml")
        path.write_text(yaml.safe_dump(wanted, sort_keys=False), "utf-8")
        ended = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)],
            env={**os.environ, POOL_SETTING: pool},
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode != 0:
        raise SetupError(f"`prefect deploy` ended with exit code {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    console.say(f"deployed {len(wanted['deployments'])} deployments to the work pool {pool}")
