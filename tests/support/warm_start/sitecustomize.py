"""Python imports this at its start where PYTHONPATH names this folder: a run of Prefect's is then handed to `forks.py`.

The process that the worker started stays: it passes signals on, and ends as the fork does. If it is killed, the fork is
killed too. Every other Python process starts as usual, and so does a run when the forking process isn't there.
"""

import os
import sys


def _hand_over(address: str) -> None:
    import json
    import signal
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
        except OSError:
            return
        socket.send_fds(connection, [b"!"], [0, 1, 2])
        values = {"environment": dict(os.environ), "folder": os.getcwd()}
        connection.sendall(json.dumps(values).encode() + b"\n")
        answers = connection.makefile()
        fork = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(fork, number))
        code = int(answers.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if sys.orig_argv[1:] == ["-m", "prefect.engine"] and "WARM_START_ADDRESS" in os.environ:
    _hand_over(os.environ["WARM_START_ADDRESS"])
