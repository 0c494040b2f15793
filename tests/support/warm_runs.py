"""Processes of tests, forked from one warm process: they save the seconds of CPU that importing Prefect and ours takes.

`warm_runs.py SOCKET` stands for `python -m prefect.engine`, by the work pool's command, and `warm_runs.py SOCKET flows WORD…`
for `promptmill WORD…`, or for another module; the first start of an environment starts the warm process. What is the same:
each is a process of its own with its environment, its folder, its output, its signals and its exit code, and ends at once
when somebody kills the process that was started. What isn't: it is a child of the warm process, so that its own
/proc/PID/environ is not its own, it has no terminal, and SIGSTOP doesn't reach it. A run with settings of its own for Prefect
is started as always. Tests of starting, stopping and killing keep the command that a person or Prefect starts.
"""

import fcntl
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

IDLE_SECONDS = 120.0  # after which the warm process ends, if its tests were killed
START_SECONDS = 120.0
ENGINE = "prefect.engine"
COMMAND = "flows"
READ_AT_IMPORT = ("PREFECT_", "PYTHON", "ARROW_", "COVERAGE_", "LD_", "HOME", "PATH")  # names of variables begin so
LATER = (  # what nearly every run imports on its way
    "anyio._backends._asyncio",
    "coolname.data",
    "graphviz",
    "prefect.concurrency._asyncio",
    "prefect.runner",
    "prefect.task_engine",
    "pyarrow.dataset",
    "tiktoken.load",
)
LATER_IN_COMMANDS = ("fastapi", "flows.command.commands_for_a_run", "flows.command.other_commands", "typer")
OF_A_RUN = "PREFECT__"  # what the worker says to one run alone


def main() -> None:
    """Start a run (`warm_runs.py SOCKET`) or be the warm process of a module's runs (`warm_runs.py SOCKET serve MODULE`)."""
    path, *words = sys.argv[1:]
    if words[:1] == ["serve"]:
        serve(path, words[1])
    else:
        start_run(path, words or [ENGINE])


def start_run(path: str, words: list[str]) -> None:
    """Have the warm process fork the run of this environment, pass signals on to it, and end as it ends."""
    connection = _connected(path, words[0])
    wanted = {"environment": dict(os.environ), "folder": os.getcwd(), "words": words}
    socket.send_fds(connection, [b"+"], [1, 2])
    connection.sendall(json.dumps(wanted).encode() + b"\n")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: connection.sendall(bytes([got])))
    said = connection.makefile("r").readline()
    if said == "other\n" or not said:
        os.execv(sys.executable, [sys.executable, "-m", *words])
    code = int(said)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def serve(path: str, module: str) -> None:
    """Import what runs use, then fork one process for each run that is asked for, until the socket's file is gone."""
    sys.path[0] = str(Path(__file__).parents[2])  # and not this folder, whose names hide those of others
    own = _shared(dict(os.environ))
    _import_for(module)
    gc.freeze()  # so that a run that looks for garbage copies none of it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then reaps what has ended
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path + ".new")
        listening.listen(64)
        os.rename(path + ".new", path)
        until = time.monotonic() + IDLE_SECONDS
        while os.path.exists(path) and time.monotonic() < until:
            if select.select([listening], [], [], 1.0)[0]:
                connection, _ = listening.accept()
                if os.fork() == 0:
                    listening.close()
                    _serve_run(connection, own)
                    return
                connection.close()
                until = time.monotonic() + IDLE_SECONDS
    with suppress(OSError):
        os.unlink(path)


def _import_for(module: str) -> None:
    """Import what a run of a module uses, in the order in which it would, but not the module that it begins with."""
    if module == COMMAND:
        from unittest.mock import patch

        from flows.command import console
        from promptmill.memory import spare_memory

        spare_memory()
        with patch.object(console, "show_log"):  # how much is said is for each command to choose
            console.prepare_prefect()
        import flows.command.as_flow
        import flows.command.complete_output
    import flows.online_inference  # noqa: I001
    import flows.batch_inference  # noqa: F401
    import prefect.flow_engine  # noqa: F401
    from promptmill.limits.pricing import prices_for
    from promptmill.output.report.drawing import draw_svg
    from promptmill.prompts.tokens import counter_for

    for name in (*LATER, *(LATER_IN_COMMANDS if module == COMMAND else ())):
        import_module(name)
    prices_for("gpt-6-luna", None)  # which reads the table
    counter_for("gpt-6-luna")  # which reads the tokenizer's file
    draw_svg("", "", lambda axes: None)  # which imports matplotlib, and reads its fonts


def _serve_run(connection: socket.socket, own: dict[str, str]) -> None:
    """Fork a run, and stand between it and who asked for it. The run itself returns from here when it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    _, outputs, _, _ = socket.recv_fds(connection, 1, 2)
    wanted: dict[str, Any] = json.loads(_line(connection))
    if _shared(wanted["environment"]) != own:
        connection.sendall(b"other\n")
        os._exit(0)
    if (run := os.fork()) == 0:
        connection.close()
        _be_the_run(outputs, **wanted)
        return
    handle = os.pidfd_open(run)
    while handle not in (ready := select.select([handle, connection], [], [])[0]):
        if connection in ready:
            os.kill(run, got[0] if (got := connection.recv(1)) else signal.SIGKILL)
            if not got:
                break
    code = os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])
    with suppress(OSError):
        connection.sendall(f"{code}\n".encode())
    os._exit(0)


def _be_the_run(outputs: list[int], environment: dict[str, str], folder: str, words: list[str]) -> None:
    import runpy

    for number, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, number)
        os.close(output)
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # a new one knows that it is a pipe and no file
    sys.stderr = sys.__stderr__ = open(2, "w", 1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0] = folder
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _connected(path: str, module: str) -> socket.socket:
    """A connection to the warm process, which is started unless it runs."""
    connection = socket.socket(socket.AF_UNIX)
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(OSError):
            connection.connect(path)
            return connection
        with open(path + ".log", "ab") as log:
            warm = subprocess.Popen(
                [sys.executable, __file__, path, "serve", module],
                env={name: value for name, value in os.environ.items() if not name.startswith(OF_A_RUN)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while warm.poll() is None and time.monotonic() < until:
            with suppress(OSError):
                connection.connect(path)
                return connection
            time.sleep(0.05)
    raise SystemExit(f"the warm process didn't start; {path}.log says why.")


def _shared(environment: dict[str, str]) -> dict[str, str]:
    """What runs must have in common that one process prepares: all that is read while modules are imported."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_IMPORT) and not name.startswith(OF_A_RUN)
    }


def _line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        if not (got := connection.recv(1)):  # who asked was killed before it had asked
            os._exit(0)
        line += got
    return line


if __name__ == "__main__":
    main()
