"""What is started once for all processes of a test session: the first to need it starts it, and ends it after the last."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def shared(folder: Path, start: Callable[[Path], AbstractContextManager[str]]) -> Iterator[str]:
    """The address of what `start` starts in the folder. Locks are the kernel's, so a process that dies holds nobody up."""
    folder.mkdir(exist_ok=True)
    address = folder / "address"
    with (folder / "starting").open("w") as starting, (folder / "users").open("w") as users, ExitStack() as mine:
        with _locked(starting):
            is_mine = not address.exists()
            if is_mine:
                address.write_text(mine.enter_context(start(folder)))
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield address.read_text()
        finally:
            if is_mine:
                _end_after_the_last(starting, users, address, mine)
            fcntl.flock(users, fcntl.LOCK_UN)


@contextmanager
def _locked(file: IO[str]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _end_after_the_last(starting: IO[str], users: IO[str], address: Path, mine: ExitStack) -> None:
    while True:
        with _locked(starting):
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                address.unlink()
                mine.close()
                return
        fcntl.flock(users, fcntl.LOCK_SH)  # a failed upgrade may have let go of it
        time.sleep(0.2)
