"""What tests share: a provider over the wire, small datasets, jobs over them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator, SimulatorOptions
from tests.support.jobs import SCHEMA, MakeJob
from tests.support.own_server import SHARED_PER_MINUTE, OwnServer, own_server
from tests.support.rows import write_rows
from tests.support.s3 import s3_server
from tests.support.serving import serving

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
def served_provider() -> Iterator[Simulator]:
    """The provider of all runs on the served Promptmill."""
    with Simulator(SimulatorOptions()) as running:
        yield running


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the served Promptmill keeps all it has: its log, Prefect's home, the state."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def served(served_folder: Path, served_provider: Simulator) -> Iterator[str]:
    """A served Promptmill, one for all modules of a group; yields the API's URL."""
    with serving(served_folder, served_provider) as api_url:
        yield api_url


@pytest.fixture
def provider(served_provider: Simulator) -> Iterator[Simulator]:
    """The provider of runs on the served Promptmill; no test leaves it slow."""
    yield served_provider
    served_provider.configure(latency_seconds=0.0, api_key=None)


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
            "max_failure_ratio": 0.5,
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
