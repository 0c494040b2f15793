"""A run whose log nobody reads any more goes on; Prefect's own console would end it."""

import logging
import os
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from tasks.prefect_internals.changes import warn_of_change
from tasks.prefect_internals.log_reader import outlive_log_reader


@pytest.fixture
def unread_log() -> Generator[logging.Logger]:
    """A log of Prefect's on a pipe whose reader has ended."""
    warn_of_change.cache_clear()
    reader, writer = os.pipe()
    log = logging.getLogger("test-of-an-unread-log")
    log.propagate = False
    with suppress(BrokenPipeError), open(writer, "w", buffering=1) as stream:  # what was not written goes at its end
        handler = PrefectConsoleHandler(stream)
        log.addHandler(handler)
        log.warning("read")
        os.close(reader)
        yield log
        log.removeHandler(handler)


def test_a_process_goes_on_when_the_reader_of_its_log_has_ended(unread_log: logging.Logger):
    outlive_log_reader()

    for number in range(3):
        unread_log.warning("line %d", number)


def test_prefects_console_ends_a_process_whose_log_nobody_reads(
    unread_log: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with (tmp_path / "stdout").open("w") as stdout:  # rich closes the process's own
        monkeypatch.setattr("sys.stdout", stdout)
        with pytest.raises(SystemExit):
            unread_log.warning("line")
        monkeypatch.undo()


def test_a_console_of_another_kind_is_told_once(
    unread_log: logging.Logger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    (handler,) = (found for found in unread_log.handlers if isinstance(found, PrefectConsoleHandler))
    monkeypatch.delattr(handler, "console")
    with caplog.at_level(logging.WARNING, "promptmill"):
        outlive_log_reader()
        outlive_log_reader()

    assert sum("its log on the console" in line for line in caplog.messages) == 1
