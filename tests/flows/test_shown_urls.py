"""No command shows the secrets of a URL: neither where all is well, nor in an error, nor in a log line."""

import io
import logging
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.__main__ import main
from promptmill.batch.registry import register
from promptmill.errors import (
    CheckpointUnreadable,
    DatasetError,
    InputChanged,
    JobError,
    OutputError,
    OutputInUse,
    StorageFailed,
)
from promptmill.job.spec import Job
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tasks.run.logs import quiet_expected_errors
from tests.support.commands import write_job
from tests.support.jobs import MakeJob

SECRET = "s3cr3t-0123456789/+"
QUOTED = "s3cr3t-0123456789%2F%2B"
CLOSED = "127.0.0.1:1"  # nobody listens
SHAPES = {
    "password": f"https://user:{SECRET}@{CLOSED}/a.csv",
    "token-as-user": f"https://{QUOTED}@{CLOSED}/a.csv",
    "sas-token": f"http://{CLOSED}/c/a.csv?sv=2024&sig={QUOTED}",
    "presigned": f"http://{CLOSED}/a.csv?X-Amz-Credential={QUOTED}&X-Amz-Signature={SECRET}",
    "fragment": f"http://{CLOSED}/a.csv#token={SECRET}",
    "ftp": f"ftp://user:{QUOTED}@{CLOSED}/a.csv",
    "package-that-is-missing": f"sftp://user:{SECRET}@{CLOSED}/a.csv",
    "protocol-that-nobody-knows": f"unknown://user:{QUOTED}@host/a.csv?key={SECRET}",
    "chained": f"simplecache::http://u:{QUOTED}@{CLOSED}/a.csv?token={SECRET}",
    "path-with-a-token": f"memory://nothing/a.csv?token={SECRET}",
    "template-that-is-wrong": "memory://nothing/{{ x",
}


class Shown:
    """Runs commands in this process and keeps all that they show."""

    def __init__(self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, patch: pytest.MonkeyPatch):
        self._capfd, self._caplog, self._patch = capfd, caplog, patch

    def by(self, *words: object) -> tuple[int, str]:
        """The exit code of a command, and every text it showed or logged."""
        self._patch.setattr(sys, "argv", ["promptmill", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as error:
            code = int(error.code or 0)
        out, err = self._capfd.readouterr()
        return code, out + err + self._caplog.text


@pytest.fixture
def shown(
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    simulator: Simulator,
    tmp_path: Path,
) -> Shown:
    """Commands over the simulator, with a state folder of their own."""
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    monkeypatch.setenv("PROMPTMILL_STATE_URL", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(logging.getLogger("promptmill"), "handlers", [])
    return Shown(capfd, caplog, monkeypatch)


def assert_clean(text: str) -> None:
    """No secret, in no spelling."""
    assert SECRET not in text
    assert QUOTED not in text
    assert SECRET[:12] not in text


def with_url(make_job: MakeJob, key: str, url: str) -> Job:
    """A job that names this URL."""
    if key != "request__response_schema":
        return make_job(3, **{key: url})
    request: dict[str, Any] = {**make_job(3).request.model_dump(mode="json"), "response_schema": f"{url}.json"}
    return make_job(3, request=request)


@pytest.mark.parametrize("key", ["input__url", "output__url", "request__response_schema"])
def test_a_url_that_leads_nowhere_is_refused_without_its_secrets(
    key: str, make_job: MakeJob, shown: Shown, tmp_path: Path
) -> None:
    for shape, url in SHAPES.items():
        code, text = shown.by("check", write_job(with_url(make_job, key, url), tmp_path))

        assert_clean(text)
        assert code == 2 or (shape, key) == ("path-with-a-token", "output__url"), (shape, text)
        assert "Traceback" not in text


@pytest.mark.parametrize("command", ["estimate", "sample", "run", "doctor"])
def test_every_command_refuses_a_url_without_its_secrets(
    command: str, make_job: MakeJob, shown: Shown, tmp_path: Path
) -> None:
    for key in ("input__url", "output__url"):
        if (command, key) == ("doctor", "input__url"):
            continue  # it reads no input
        code, text = shown.by(command, write_job(with_url(make_job, key, SHAPES["ftp"]), tmp_path))

        assert_clean(text)
        assert code == 2
        assert CLOSED in text


def test_a_job_file_that_leads_nowhere_is_refused_without_the_secrets_of_its_url(shown: Shown) -> None:
    for url in SHAPES.values():
        code, text = shown.by("check", url)

        assert_clean(text)
        assert code == 2


def test_no_command_shows_the_token_of_a_job_that_works(make_job: MakeJob, shown: Shown, tmp_path: Path) -> None:
    rows = Path(make_job(5).input.urls[0]).read_bytes()
    folder = f"memory://shown-{uuid4().hex}"
    job = make_job(5, input__url=f"{folder}/in", output__url=f"{folder}/out?token={SECRET}")
    Storage(f"{folder}/in").write("rows.parquet", rows)
    path = write_job(job, tmp_path)
    register(job, retry_failed=False, flow_run_ids=())

    texts = {
        words: shown.by(*words)
        for words in (
            ("check", path),
            ("estimate", path, "--json"),
            ("sample", path, "-n", 2, "--json"),
            ("batches", "status", "--json"),
            ("batches", "status", path),
            ("batches", "cancel", "--json"),
            ("batches", "export", path, "--to", tmp_path / "exported"),
            ("batches", "import", path, write_job(job, tmp_path)),
        )
    }

    for words, (code, text) in texts.items():
        assert_clean(text)
        assert code == (2 if "import" in words else 0), (words, text)  # a job file holds no results
    assert "out?token=***" in texts["check", path][1]


@pytest.mark.parametrize("url", SHAPES.values(), ids=list(SHAPES))
def test_no_error_of_ours_keeps_the_secrets_of_a_url(url: str) -> None:
    for kind in (JobError, DatasetError, OutputError, OutputInUse, StorageFailed, InputChanged, CheckpointUnreadable):
        error = kind(f"{url} is away")
        again = pickle.loads(pickle.dumps(error))

        for text in (str(error), repr(error), str(again), "".join(traceback.format_exception(error))):
            assert_clean(text)


@pytest.mark.parametrize("name", ["promptmill", "prefect.flow_runs", "prefect.task_runs"])
def test_no_log_line_keeps_the_secrets_of_a_url_nor_does_the_traceback_below_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet_expected_errors()
    lines = io.StringIO()
    logger = logging.getLogger(name)
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(lines)])
    for url in SHAPES.values():
        try:
            raise ValueError(url) from OSError(url)
        except ValueError:
            logger.exception("%s is away, and so is %r", url, Path("x"))

    assert lines.getvalue().count("is away") == len(SHAPES)
    assert_clean(lines.getvalue())
