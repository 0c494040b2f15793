"""Our handler of SIGTERM in the place of Prefect's: acknowledged by Prefect as its own, and put back afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.runner import _starter_engine
from prefect.utilities import engine as prefect_engine

from tasks.prefect_internals import sigterm_handler
from tasks.prefect_internals.changes import warn_of_change
from tasks.prefect_internals.sigterm_handler import (
    HANDLER_NAME,
    LOCK_NAME,
    RUN_VARIABLE,
    handling_sigterm,
    is_started_by_worker,
)
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def warnings_are_new() -> None:
    """Each test may see a warning that is written once per process."""
    warn_of_change.cache_clear()


@pytest.fixture
def prefects_handler() -> Iterator[Any]:
    """Prefect's handler of SIGTERM, installed as the engine of a flow installs it."""
    with prefect_engine.capture_sigterm():
        yield prefect_engine._prefect_sigterm_handler


def noted(notes: list[int]) -> Any:
    return lambda number, frame: notes.append(number)


def acknowledges() -> bool:
    """Whether Prefect would acknowledge a cancellation that the worker announces."""
    told: list[str] = []
    is_committed = prefect_engine.commit_control_intent_and_ack(
        commit_intent=lambda: told.append("commit"),
        clear_intent=lambda: told.append("clear"),
        send_ack=lambda: told.append("ack"),
    )
    assert told == (["commit", "ack"] if is_committed else [])
    return is_committed


def test_prefect_has_a_handler_and_a_lock_of_these_names() -> None:
    assert callable(getattr(prefect_engine, HANDLER_NAME))
    assert hasattr(getattr(prefect_engine, LOCK_NAME), "acquire")


def test_our_handler_gets_the_signal_and_prefect_acknowledges_a_cancellation(prefects_handler: Any) -> None:
    notes: list[int] = []
    with handling_sigterm(noted(notes)):
        os.kill(os.getpid(), signal.SIGTERM)
        is_acknowledged = acknowledges()

    assert notes == [signal.SIGTERM]
    assert is_acknowledged
    assert signal.getsignal(signal.SIGTERM) is prefects_handler is prefect_engine._prefect_sigterm_handler


def test_prefect_acknowledges_no_cancellation_while_another_handler_is_installed(prefects_handler: Any) -> None:
    """This is why our handler must take Prefect's name."""
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    is_acknowledged = acknowledges()
    signal.signal(signal.SIGTERM, prefects_handler)

    assert not is_acknowledged


@pytest.mark.parametrize("name", [HANDLER_NAME, LOCK_NAME])
def test_if_prefect_renames_either_its_handler_stays_and_a_warning_says_so_once(
    name: str, prefects_handler: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renamed = {other: getattr(prefect_engine, other) for other in (HANDLER_NAME, LOCK_NAME) if other != name}
    monkeypatch.setattr(sigterm_handler, "prefect_engine", SimpleNamespace(**renamed))
    for _ in range(2):
        with handling_sigterm(noted([])):
            assert signal.getsignal(signal.SIGTERM) is prefects_handler

    assert caplog.text.count("differs from 3.8.8") == 1
    assert "answers on their way are lost" in caplog.text


def test_a_worker_names_the_run_in_the_environment_of_its_process() -> None:
    with open(_starter_engine.__file__, encoding="utf-8") as source:
        assert f'"{RUN_VARIABLE}": str(flow_run.id)' in source.read()


@pytest.mark.parametrize(
    ("named", "deployed", "is_warned"),
    [
        pytest.param(True, True, False, id="by-a-worker"),
        pytest.param(False, False, False, id="by-a-person"),
        pytest.param(False, True, True, id="by-a-worker-that-names-no-run"),
    ],
)
def test_a_process_knows_whether_a_worker_started_it(
    named: bool, deployed: bool, is_warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = SimpleNamespace(deployment_id=uuid4() if deployed else None)
    context = SimpleNamespace(get=lambda: SimpleNamespace(flow_run=run))
    monkeypatch.setattr(sigterm_handler, "FlowRunContext", context)
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    if named:
        monkeypatch.setenv(RUN_VARIABLE, str(uuid4()))

    assert is_started_by_worker() is named
    assert ("no longer names the run" in caplog.text) is is_warned


def test_the_command_knows_prefects_signals_without_importing_prefect() -> None:
    script = "import sys; from tasks.prefect_internals.stop_signals import is_stop_signal as s\n"
    script += "assert not s(KeyboardInterrupt()) and 'prefect' not in sys.modules"

    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
