"""Runs of a served Promptmill as forks of one process that has imported everything: each saves its start of 3 CPU seconds.

`python -m tests.support.warm_start.forks ADDRESS`

Only `python -m prefect.engine` is replaced, and only on the server that most tests share: the worker starts, watches and
ends a process of its own as ever (see sitecustomize.py). The servers that tests kill, the one on PostgreSQL and the one of
`test_serve` start their runs as users do; with COLD_STARTS=1, or while coverage is measured, all do.
"""

import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOWS = ("online_inference", "answer_shard", "batch_inference", "advance_batches", "estimate_cost")
IMPORTED = ("prefect.engine", "prefect.flow_engine", "prefect.task_engine", *(f"flows.{name}" for name in FLOWS))


@dataclass(frozen=True)
class Start:
    """What a process was started with."""

    environment: dict[str, str]
    folder: str
    streams: list[int]  # its standard input, output and error


class Forks:
    """The forks that run, and the connections of the processes that wait for them."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._waiting: dict[int, socket.socket] = {}  # by the fork's process id
        self._woken, wake = socket.socketpair()
        wake.setblocking(False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())
        self._selector = selectors.DefaultSelector()
        for readable in (listener, self._woken):
            self._selector.register(readable, selectors.EVENT_READ)

    def serve(self) -> Start:
        """Fork whenever a process asks for it; returns in the forks only."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    if (start := self._fork()) is not None:
                        return start
                elif key.fileobj is self._woken:
                    self._woken.recv(1024)
                    self._report_ended()
                else:
                    self._kill(key.data)

    def _fork(self) -> Start | None:
        connection, _ = self._listener.accept()
        start = _read_start(connection)
        fork = os.fork()
        if fork == 0:
            self._leave_to_parent(connection)
            return start
        for stream in start.streams:
            os.close(stream)
        self._waiting[fork] = connection
        with suppress(OSError):
            connection.sendall(f"{fork}\n".encode())
        self._selector.register(connection, selectors.EVENT_READ, fork)
        return None

    def _leave_to_parent(self, connection: socket.socket) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for inherited in (self._listener, self._woken, self._wake, connection, *self._waiting.values()):
            inherited.close()

    def _report_ended(self) -> None:
        for fork in [*self._waiting]:
            ended, status = os.waitpid(fork, os.WNOHANG)
            if ended:
                connection = self._waiting.pop(fork)
                with suppress(KeyError):
                    self._selector.unregister(connection)
                with suppress(OSError):
                    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                connection.close()

    def _kill(self, fork: int) -> None:
        """End a fork whose process was killed, with all that it started."""
        self._selector.unregister(self._waiting[fork])
        with suppress(ProcessLookupError):
            os.killpg(fork, signal.SIGKILL)


def _read_start(connection: socket.socket) -> Start:
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    values: dict[str, Any] = json.loads(connection.makefile("rb").readline())
    return Start(values["environment"], values["folder"], streams)


def become(start: Start) -> None:
    """Be the process that was asked for: its streams, folder, environment, and Prefect's settings from them."""
    os.setsid()
    for number, stream in enumerate(start.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    sys.path[0] = start.folder
    sys.argv[:] = ["prefect.engine"]
    importlib.import_module("prefect.context").refresh_global_settings_context()
    sys.modules.pop("prefect.engine")
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def main(address: str) -> None:
    """Import everything, then fork for whoever connects to the address."""
    for name in IMPORTED:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(100)
        Path(f"{address}.new").rename(address)
        start = Forks(listener).serve()
    become(start)


if __name__ == "__main__":
    main(sys.argv[1])
