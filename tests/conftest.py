"""What tests share: a provider over the wire, small datasets, jobs over them."""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from prefect.settings import PREFECT_API_URL, temporary_settings
from xdist.remote import Producer

from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator, SimulatorOptions
from tests.support.examples import examples
from tests.support.jobs import SCHEMA, MakeJob
from tests.support.own_server import SHARED_PER_MINUTE, OwnServer, own_server
from tests.support.prefect_server import end_prefects_threads, prefect_server, prepare_home
from tests.support.rows import write_rows
from tests.support.s3 import s3_folder, s3_server
from tests.support.servers import Servers, a_core
from tests.support.serving import fork_runs, serving, start_runs_without_a_supervisor, warm_runs
from tests.support.spreading import Spreading, has_server, look_for_servers, turn

__all__ = ["s3_folder", "s3_server"]  # fixtures of all rooms

settings.register_profile(
    "promptmill", max_examples=examples(), deadline=None
)  # a busy machine is no fault of an example
settings.load_profile("promptmill")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
sys.dont_write_bytecode = False  # tests start our commands by the hundred: each file is compiled once, not by each
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else Ctrl-C would be ignored by all that tests start
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup starts it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_servers = Servers()
_SERVERS = {
    "prefect_url",
    "prefect",
    "served",
    "own",
    "screen",
    "database_server",
}  # fixtures that start a Prefect server or a browser


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-fast` leaves out, what needs a Prefect server, a database or a browser, and put it first.

    Each module of tests/deployed is a group of its own, unless it names one, so that its tests share a server. So are all
    tests with the server on which nothing is deployed: apart, each test process would start one.
    """
    for item in items:
        values = getattr(getattr(item, "callspec", None), "params", {})  # a parameter may be called `own` too
        names = set(getattr(item, "fixturenames", ())) - set(values)
        is_deployed = item.path.parent.name == "deployed"
        if names & _SERVERS or is_deployed:
            item.add_marker(pytest.mark.served)
        is_alone = item.get_closest_marker("xdist_group") is None
        if is_alone and (is_deployed or "prefect_url" in names):
            item.add_marker(pytest.mark.xdist_group(item.path.stem if is_deployed else "prefect"))
    look_for_servers(items)
    items.sort(key=turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spreading | None:
    """What `--dist loadgroup` means here."""
    return Spreading(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test without a server computes: as many run at once as there are cores, and none beside an idle server.

    Tests with a server mostly wait, so that more of them than cores run at once.
    """
    if has_server(item):
        return (yield)
    _servers.end()
    with a_core(_shared_folder()):
        return (yield)


def pytest_sessionfinish() -> None:
    """End what still runs."""
    _servers.end()


def _shared_folder() -> Path:
    """A folder that all test processes of a user share, those of other test runs too."""
    folder = Path(tempfile.gettempdir(), f"promptmill-tests-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees a key, proxy or address of the person who runs it, and none leaves anything in their home."""
    monkeypatch.setenv("PROMPTMILL_UNSAVED_FOLDER", str(tmp_path_factory.getbasetemp() / "unsaved"))
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AWS_")) or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """No test hears or silences the log of the tests after it: our commands print it and don't pass it on.

    What a module's fixtures ran is undone too, so this makes the log as it is at first.
    """
    yield
    ours = logging.getLogger("promptmill")
    ours.handlers.clear()
    ours.propagate = True
    ours.setLevel(logging.NOTSET)
    console = sys.modules.get("flows.command.console")  # imported by the tests that run a command in this process
    if console is not None:
        console._HANDLERS.clear()
        console._CHOSEN.clear()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A provider without limits or faults; `configure` gives it some."""
    with Simulator(SimulatorOptions()) as running:
        yield running


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a folder for a server, with a database in it that has its tables."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        prepare_home(folder, shared)
        return folder

    return make


@pytest.fixture(scope="module")
def prefect_url(new_home: Callable[[str], Path]) -> str:
    """The API's URL of a Prefect server with nothing deployed, which the tests of all modules share."""
    return _servers.running("prefect", lambda: prefect_server(new_home("prefect")))


@pytest.fixture(scope="module")
def prefect(prefect_url: str) -> Iterator[str]:
    """The same server, which this process uses too while the module is tested."""
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        yield prefect_url
        end_prefects_threads()


@pytest.fixture(scope="session")
def served_provider() -> Iterator[Simulator]:
    """The provider of all runs on the served Promptmill."""
    with Simulator(SimulatorOptions()) as running:
        yield running


@pytest.fixture(scope="session")
def served_folder(new_home: Callable[[str], Path]) -> Path:
    """Where the served Promptmill keeps all it has: its log, Prefect's home, the state."""
    return new_home("served")


@pytest.fixture(scope="module")
def served(served_folder: Path, served_provider: Simulator) -> str:
    """The API's URL of a served Promptmill, one for all modules that a worker process tests.

    Its runs are forked from one process that has imported all they need, unless a test takes the fixture `cold`.
    """

    @contextmanager
    def start() -> Generator[str]:
        with serving(served_folder, served_provider) as api_url, warm_runs(api_url, served_folder):
            yield api_url

    return _servers.running("served", start)


@pytest.fixture
def cold(served: str, served_folder: Path) -> Iterator[None]:
    """The worker starts the runs of this test by Prefect's own command, each with its imports."""
    start_runs_without_a_supervisor(served)
    yield
    fork_runs(served, served_folder)


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


@pytest.fixture(scope="module")
def own(new_home: Callable[[str], Path], own_provider: Simulator) -> OwnServer:
    """A server that tests may kill, with everything deployed and no worker; for the group `outages`."""

    @contextmanager
    def start() -> Generator[OwnServer]:
        with own_server(new_home("own"), own_provider) as running:
            running.deploy_as_in_a_clone()
            running.bootstrap("--limit", f"shared={SHARED_PER_MINUTE},2000000")
            yield running

    return _servers.running("own", start)


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
