"""A command follows no entry of the registry that others may have planted, unless it leads where everybody's may."""

import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import orjson
import pytest

from flows.__main__ import main
from promptmill.batch import registry
from promptmill.batch.entry_trust import require_followable
from promptmill.batch.registry import Entry, register, registered
from promptmill.errors import SetupError
from promptmill.job.spec import Job
from promptmill.storage import Storage
from tasks.batch.steps import each_job
from tests.support.jobs import SCHEMA, MakeJob


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry's folder, and a home whose owner wrote nothing into it yet."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(registry.STATE_SETTING, str(tmp_path / "state"))
    for name in ("PROMPTMILL_ALLOWED_URLS", "PROMPTMILL_ALLOWED_MODULES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "state"


def plant(job: Job, at: str = "jobs/planted.json", **changes: Any) -> Entry:
    """An entry as somebody writes it who may write to the registry and has no key; returns what commands read."""
    values = {
        "job": job.model_dump(mode="json"),
        "retry_failed": False,
        "flow_run_ids": [],
        "owner": "",
        "seen_at": 0.0,
    }
    registry.registry().write(at, orjson.dumps({**values, **changes}))
    return registered()[-1]


def job_with(make_job: MakeJob, **changes: Any) -> Job:
    """A job all of whose places anybody may name, but for these."""
    schema = changes.pop("schema", SCHEMA)
    request = {"model": "gpt-6-luna", "user": "Label: {{ text }}", "response_schema": schema}
    urls = {"input__url": "s3://lake/rows.parquet", "output__url": "s3://lake/out"}
    return make_job(3, request=request, **{**urls, **changes})


CLOSED = {
    "local-input": {"input__url": "/etc/passwd"},
    "local-output": {"output__url": "/srv/elsewhere"},
    "file-url": {"output__url": "file:///srv/elsewhere"},
    "loopback": {"output__url": "http://127.0.0.1:9/out"},
    "second-of-a-list": {"input__url": ["s3://lake/a.csv", "https://example.com/rows.csv"]},
    "metadata": {"input__url": "http://169.254.169.254/latest/meta-data"},
    "web": {"input__url": "https://example.com/rows.csv"},
    "chained": {"input__url": "simplecache::s3://lake/rows.csv"},
    "sftp": {"output__url": "sftp://host/out"},
    "schema-file": {"schema": "/home/me/schema.json"},
    "module": {"schema": "os.path:Model"},
}


@pytest.mark.parametrize("changes", CLOSED.values(), ids=list(CLOSED))
def test_a_planted_entry_leads_nowhere_but_where_anybodys_may(changes: dict[str, Any], make_job: MakeJob) -> None:
    entry = plant(job_with(make_job, **changes))

    with pytest.raises(SetupError, match="no command of yours wrote the entry"):
        require_followable(entry.job, is_ours=entry.is_ours, named=None)


@pytest.mark.parametrize("changes", CLOSED.values(), ids=list(CLOSED))
def test_an_entry_of_our_own_leads_everywhere(changes: dict[str, Any], make_job: MakeJob) -> None:
    register(job_with(make_job, **changes), retry_failed=True, flow_run_ids=("a",), owner="machine:1", now=3.5)
    (entry,) = registered()

    require_followable(entry.job, is_ours=entry.is_ours, named=None)
    assert entry.is_ours


def test_what_is_listed_may_be_followed(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_ALLOWED_URLS", "/srv/data,https://example.com/,s3://lake/")
    monkeypatch.setenv("PROMPTMILL_ALLOWED_MODULES", "ours")
    places = {"input__url": "https://example.com/rows.csv", "output__url": "/srv/data/out"}
    entry = plant(job_with(make_job, schema="ours.schemas:Model", **places))

    require_followable(entry.job, is_ours=entry.is_ours, named=None)


def test_a_planted_entry_counts_where_the_users_own_job_file_says_the_same(make_job: MakeJob) -> None:
    named = job_with(make_job, output__url="/srv/{{ date }}")
    entry = plant(job_with(make_job, output__url="/srv/2026-11-26"))
    other = plant(job_with(make_job, output__url="/srv/2026-11-26", input__url="/etc/passwd"))

    require_followable(entry.job, is_ours=entry.is_ours, named=named)
    with pytest.raises(SetupError, match="input.url '/etc/passwd'"):
        require_followable(other.job, is_ours=other.is_ours, named=named)


@pytest.mark.parametrize("name", ["job", "retry_failed", "flow_run_ids", "owner", "seen_at", "seal"])
def test_a_seal_covers_all_that_an_entry_says(name: str, make_job: MakeJob, state: Path) -> None:
    entry = register(job_with(make_job), retry_failed=False, flow_run_ids=())
    values = orjson.loads((state / entry.name).read_bytes())
    others = {"job": job_with(make_job, name="x").model_dump(mode="json"), "retry_failed": True, "flow_run_ids": ["x"]}
    values[name] = {**others, "owner": "x", "seen_at": 1.0, "seal": "0" * 64}[name]
    Storage(str(state)).write(entry.name, orjson.dumps(values))

    assert not registered()[0].is_ours


def test_the_key_is_the_users_alone_and_stays_out_of_the_registry(
    make_job: MakeJob, state: Path, tmp_path: Path
) -> None:
    register(job_with(make_job), retry_failed=False, flow_run_ids=())
    (key,) = [path for path in (tmp_path / "home").iterdir() if path.is_file()]
    key_before = key.read_bytes()
    register(job_with(make_job), retry_failed=False, flow_run_ids=())

    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_bytes() == key_before
    assert [path for path in state.rglob("*") if path.is_file() and key_before in path.read_bytes()] == []


def test_an_entry_of_another_user_is_not_ours(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(job_with(make_job), retry_failed=False, flow_run_ids=())
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "other-home"))

    assert not registered()[0].is_ours


def test_a_home_that_can_keep_no_key_seals_nothing(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file"))
    register(job_with(make_job), retry_failed=False, flow_run_ids=())

    assert not registered()[0].is_ours


class Seen(BaseHTTPRequestHandler):
    """Notes each request to a place that only a planted entry names."""

    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        self.send_error(404)

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def loopback() -> Iterator[str]:
    """The URL of a server that a planted entry names."""
    Seen.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Seen) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def said_by(*words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of a command in this process, and what it said."""
    monkeypatch.setattr(sys, "argv", ["promptmill", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capfd.readouterr().err


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_a_command_over_all_jobs_passes_a_planted_entry_over_and_says_so(
    command: str,
    loopback: str,
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("COLUMNS", "400")
    register(make_job(3, name="ours"), retry_failed=False, flow_run_ids=())
    plant(job_with(make_job, name="theirs", output__url=f"{loopback}/out"))
    plant(job_with(make_job, name="theirs", output__url=str(tmp_path / "elsewhere")), at="jobs/other.json")

    code, said = said_by("batches", command, monkeypatch=monkeypatch, capfd=capfd)

    assert code == 2
    assert "ours (" in said
    assert said.count("no command of yours wrote the entry") == 2
    assert Seen.requests == []
    assert not (tmp_path / "elsewhere").exists()


async def test_a_step_over_all_jobs_passes_a_planted_entry_over_and_ends_with_its_error(
    loopback: str, make_job: MakeJob
) -> None:
    register(make_job(3, name="ours"), retry_failed=False, flow_run_ids=())
    plant(job_with(make_job, name="theirs", output__url=f"{loopback}/out"))
    moved: list[str] = []

    async def act(name: str, entry: Entry) -> dict[str, Any]:
        moved.append(name)
        return {}

    with pytest.raises(SetupError, match="no command of yours wrote the entry"):
        await each_job(act, None)

    assert moved == ["ours"]
