"""What tests share: a provider over the wire, small datasets, jobs over them."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from prefect.context import refresh_global_settings_context

from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator, SimulatorOptions
from tests.support.jobs import SCHEMA, MakeJob
from tests.support.own_server import SHARED_PER_MINUTE, OwnServer, own_server
from tests.support.rows import write_rows
from tests.support.s3 import s3_server
from tests.support.serving import ServedProvider, served_provider, serving_warm
from tests.support.shared import shared

__all__ = ["s3_server"]  # a fixture of all rooms

settings.register_profile("promptmill", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("promptmill")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else Ctrl-C would be ignored by all that tests start


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, proxy or address of whoever runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AWS_")) or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
            monkeypatch.delenv(name)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A provider without limits or faults; `configure` gives it some."""
    with Simulator(SimulatorOptions()) as running:
        yield running


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the whole test session: its processes find there what one of them has started."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def served_folder(session_folder: Path) -> Path:
    """Where the served Promptmill keeps all it has: its log, Prefect's home, the state."""
    return session_folder / "served"


@pytest.fixture(scope="session")
def served(served_folder: Path) -> Iterator[str]:
    """The API's URL of a served Promptmill, one for the whole session: `make serve` with a worker."""

    @contextmanager
    def start(folder: Path) -> Iterator[str]:
        with Simulator(SimulatorOptions()) as provider, serving_warm(folder, provider) as api_url:
            yield api_url

    with shared(served_folder, start) as api_url:
        yield api_url


@pytest.fixture
async def provider(served: str) -> AsyncIterator[ServedProvider]:
    """A provider of the test's own for its runs on the served Promptmill."""
    async with served_provider(served) as provider:
        yield provider


@pytest.fixture(scope="session")
def bare_server(session_folder: Path) -> Iterator[str]:
    """The API's URL of a Prefect server with nothing on it, one for the whole session."""

    @contextmanager
    def start(folder: Path) -> Iterator[str]:
        with own_server(folder) as server:
            yield server.api_url

    with shared(session_folder / "bare", start) as api_url:
        yield api_url


@pytest.fixture
def prefect(bare_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Prefect server for flows that run in the test's own process; yields its API's URL."""
    monkeypatch.setenv("PREFECT_API_URL", bare_server)
    refresh_global_settings_context()
    yield bare_server
    monkeypatch.delenv("PREFECT_API_URL")
    refresh_global_settings_context()


@pytest.fixture(scope="session")
def own_provider() -> Iterator[Simulator]:
    """The provider of runs on the server that tests kill; its answers take two seconds."""
    with Simulator(SimulatorOptions(latency_seconds=2.0)) as running:
        yield running


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory, own_provider: Simulator) -> Iterator[OwnServer]:
    """A server that tests may kill, with everything deployed and no worker; for the group `outages`."""
    with own_server(tmp_path_factory.mktemp("own"), own_provider) as running:
        running.deploy("--limit", f"shared={SHARED_PER_MINUTE},2000000")
        yield running


@pytest.fixture
def credentials(simulator: Simulator) -> Credentials:
    """How to reach the simulator."""
    return Credentials(api_key="test", base_url=simulator.base_url)


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Makes jobs over a file of texts; values by dotted name replace the defaults."""

    def make(texts: list[str | None] | int = 40, **changes: Any) -> Job:
        rows = [f"text number {number}" for number in range(texts)] if isinstance(texts, int) else texts
        values: dict[str, Any] = {
            "name": "test",
            "input": {"url": str(write_rows(tmp_path / "rows.parquet", list(rows)))},
            "request": {
                "model": "gpt-6-luna",
                "user": "Label: {{ text }}",
                "response_schema": SCHEMA,
                "parameters": {"max_completion_tokens": 64},
            },
            "output": {"url": str(tmp_path / "out")},
            "chunk_rows": 10,
            "checkpoint_rows": 4,
            "retry": {"max_attempts": 6, "request_timeout_seconds": 5},
        }
        for name, value in changes.items():
            section, _, key = name.partition("__")
            if key:
                values.setdefault(section, {})[key] = value
            else:
                values[section] = value
        return Job.model_validate(values)

    return make
