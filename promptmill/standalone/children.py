"""One process that answers a part of a run, as the run sees it: started, heard, asked to end."""

import asyncio
import logging
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import anyio
from pydantic import ValidationError

import promptmill
from promptmill.errors import PromptmillError
from promptmill.provider.redaction import redact
from promptmill.provider.transport import Credentials, known_secrets
from promptmill.runs.engine import LookUpCredentials
from promptmill.sharding.plan import Outcome
from promptmill.standalone.messages import END, REPORT, WORK, Counts, Work, key_line, part_line

_LONGEST_LINE = 64 * 1024 * 1024  # of a manifest
_LAST_LINES = 5  # of standard error are told when a child dies
# The child looks for modules where this process does, and not in the folder that it happens to run in.
_START = "import sys; sys.path[:] = sys.argv[1:]; from {module} import main; main()"
log = logging.getLogger("promptmill")


class Child:
    """A process that answers a part of a run."""

    def __init__(
        self, process: asyncio.subprocess.Process, credentials: Credentials, look_up: LookUpCredentials | None
    ) -> None:
        self._process, self._look_up = process, look_up
        self._secrets = known_secrets(credentials)
        self._outcome: Outcome | None = None
        self._said: deque[str] = deque(maxlen=_LAST_LINES)

    @staticmethod
    async def start(work: Work, look_up: LookUpCredentials | None) -> "Child":
        """Start a process and tell it of its work; `look_up` finds the credentials that it asks for."""
        code = _START.format(module=f"{promptmill.__name__}.standalone.child")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            code,
            *(path or str(Path.cwd()) for path in sys.path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            start_new_session=True,
        )
        child = Child(process, work.credentials, look_up)
        await child._tell(WORK.dump_json(work) + b"\n")
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def until_end(self, count: Callable[[Counts], None]) -> Outcome | None:
        """How it ended, once its process is gone; None where it died without a word."""
        await asyncio.gather(self._hear(count), self._keep_errors())
        await self._process.wait()
        return self._outcome

    async def end(self) -> None:
        """Ask it to end soon and to keep what arrives; no error where it has ended."""
        await self._tell(END)

    async def take_part(self, part: float) -> None:
        """Let it keep to another part of the limits; no error where it has ended."""
        await self._tell(part_line(part))

    async def kill(self) -> None:
        """End its process at once."""
        with suppress(ProcessLookupError):
            self._process.kill()
        with anyio.CancelScope(shield=True):
            await self._process.wait()

    def describe_death(self) -> str:
        """How it died, for people."""
        code = self._process.returncode
        how = f"exit code {code}"
        if code is not None and code < 0:
            with suppress(ValueError):
                how = f"killed by {signal.Signals(-code).name}"
        return f"{how}: {' '.join(self._said)}" if self._said else how

    async def _tell(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it is a pipe
        with suppress(OSError):  # it is dead, which until_end tells
            stdin.write(line)
            await stdin.drain()

    async def _hear(self, count: Callable[[Counts], None]) -> None:
        async for line in _lines(self._process.stdout):
            with suppress(ValidationError):  # it was killed in the middle of a line
                report = REPORT.validate_json(line)
                if report.counts is not None:
                    count(report.counts)
                if report.line is not None:
                    log.log(report.line.level, "%s", report.line.text)
                if report.wants_key and self._look_up is not None:
                    await self._tell_key(self._look_up)
                if report.outcome is not None:
                    self._outcome = report.outcome.outcome()

    async def _tell_key(self, look_up: LookUpCredentials) -> None:
        try:
            credentials = await look_up()
        except PromptmillError as error:  # the child ends for want of a key, and the run with it
            log.warning("the key can't be looked up again: %s", error)
            return
        self._secrets += known_secrets(credentials)
        await self._tell(key_line(credentials))

    async def _keep_errors(self) -> None:
        async for line in _lines(self._process.stderr):
            self._said.append(redact(line.decode(errors="replace").strip(), self._secrets))
            log.debug("process %d: %s", self.pid, self._said[-1])


async def _lines(pipe: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
    """The lines of a pipe until it is closed, without those that are too long to hold."""
    assert pipe is not None  # noqa: S101 - the child was started with one
    while True:
        try:
            line = await pipe.readline()
        except ValueError:  # it has dropped the line
            continue
        if not line:
            return
        yield line
