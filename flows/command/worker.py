"""Runs `promptmill worker`: answers deployed runs on this machine; when it ends, they keep the answers on their way."""

import os
import subprocess
from pathlib import Path

from flows.command import console
from promptmill.allowed_urls import URLS_SETTING, describe_rules
from promptmill.errors import SetupError
from tasks.prefect_internals.server_address import server_address
from tasks.server.parts import QUERY_SECONDS, ending_parts, start_worker


def work(pool: str) -> None:
    """Work until somebody ends it. Raises: SetupError if no server is named or if Prefect's worker fails."""
    if server_address() is None:
        raise SetupError(
            "a worker takes runs from a Prefect server, and PREFECT_API_URL names none. Export it, after `promptmill deploy` "
            "there."
        )
    console.say(f"runs may use {describe_rules(os.environ)} ({URLS_SETTING})")
    parts = list[subprocess.Popen[bytes]]()
    with ending_parts(parts):
        settings = {"PREFECT_WORKER_QUERY_SECONDS": QUERY_SECONDS, **os.environ}
        parts.append(start_worker(pool, settings, Path.cwd()))
        if (code := parts[0].wait()) != 0:
            raise SetupError(f"Prefect's worker ended with exit code {code}; its lines above say why.")
