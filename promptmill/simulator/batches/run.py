"""Runs a batch's lines: reads them one by one from disk, answers them, and writes the two result files.

Memory holds only the lines' offsets, so it hardly grows with the file. The run shares the event loop and pauses after
some lines or a few milliseconds, whichever comes first. A thread would need locks around the books.
"""

import time
from array import array
from contextlib import ExitStack
from pathlib import Path
from random import Random
from types import TracebackType
from typing import BinaryIO, Self

from promptmill.simulator.answers.engine import Endpoint
from promptmill.simulator.batches.lines import (
    LOST_FATES,
    Fate,
    LineResult,
    choose_fate,
    has_fates,
    result_line,
    run_line,
    unrun_line,
)
from promptmill.simulator.errors import ApiError
from promptmill.simulator.state.batch import with_progress, with_results
from promptmill.simulator.state.batch_job import BatchJob, is_expiring
from promptmill.simulator.state.file_store import INPUT_LIFETIME_SECONDS
from promptmill.simulator.state.ledger import BATCH_TIER, Account
from promptmill.simulator.state.world import World
from promptmill.simulator.wire import JsonObject, body_digest, decode

SLICE_SECONDS = 0.005  # of the event loop at once; a request beside a batch waits for a few such slices
_SLICES = 20  # at least this many in a batch, so that a test can cancel a small batch half-way
_BUFFER_BYTES = 1 << 20


class BatchRun:
    """The run of one batch; a context manager that closes its result files."""

    def __init__(
        self, world: World, job: BatchJob, endpoint: Endpoint, content: BinaryIO, offsets: "array[int]"
    ) -> None:
        self._world = world
        self._job = job
        self._endpoint: Endpoint = endpoint
        self._offsets = offsets
        self.is_expiring = is_expiring(job, world.options)
        self._billed = Account()
        self._completed = self._failed = 0
        self._stack = ExitStack()
        self._input = content
        self._output = self._stack.enter_context(world.files.reserve().open("wb", _BUFFER_BYTES))
        self._errors = self._stack.enter_context(world.files.reserve().open("wb", _BUFFER_BYTES))
        if world.options.shuffle_output:
            Random(f"{world.options.seed}|{job.ordinal}").shuffle(self._offsets)

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the result files."""
        self._stack.close()

    async def execute(self, seconds: float) -> None:
        """Run the lines over a span of time; end early if the batch is cancelled."""
        total = len(self._offsets)
        started = slice_started = time.monotonic()
        slice_lines = max(1, total // _SLICES)
        for index, offset in enumerate(self._offsets, 1):
            self._run(offset)
            if index % slice_lines and time.monotonic() - slice_started < SLICE_SECONDS:
                continue
            self._job.batch = with_progress(self._job.batch, self._completed, self._failed)
            if await self._job.pause_until(started + seconds * index / total):
                self._leave_unrun(index)
                return
            slice_started = time.monotonic()

    def publish(self) -> None:
        """Make the result files visible and name them in the batch; drop an empty file."""
        self._stack.close()
        job, options = self._job, self._world.options
        batch = job.batch
        output_id = self._publish_file(Path(self._output.name), f"{batch.id}_output.jsonl")
        error_id = self._publish_file(Path(self._errors.name), f"{batch.id}_error.jsonl")
        if error_id is None and options.empty_error_file_id:
            error_id = ""
        batch = with_progress(batch, self._completed, self._failed)
        job.batch = with_results(batch, output_id, error_id, self._billed)

    def _publish_file(self, path: Path, filename: str) -> str | None:
        if path.stat().st_size == 0:
            path.unlink()
            return None
        record = self._world.files.add(
            path,
            key=self._job.batch.key,
            filename=filename,
            purpose="batch_output",
            lifetime_seconds=INPUT_LIFETIME_SECONDS,
            hidden_seconds=self._world.options.file_hidden_seconds,
        )
        return record.id

    def _read(self, offset: int) -> tuple[str, JsonObject]:
        self._input.seek(offset)
        line = decode(self._input.readline())
        body = line["body"] if isinstance(line, dict) else None
        if not isinstance(line, dict) or not isinstance(body, dict):
            raise TypeError(f"the line at {offset} of batch {self._job.batch.id} has changed since it was checked.")
        return str(line["custom_id"]), body

    def _run(self, offset: int) -> None:
        world = self._world
        custom_id, body = self._read(offset)
        digest = body_digest(body)
        fate = self._choose_fate(digest)
        serial = world.next_serial()
        if fate == "expired":
            self._errors.write(unrun_line(serial, custom_id, "batch_expired"))
            return
        result = self._answer(body, digest, fate)
        if isinstance(result.outcome, ApiError):
            self._failed += 1
            self._errors.write(result_line(serial, custom_id, result.outcome))
            return
        self._completed += fate != "missing"
        if fate not in LOST_FATES or world.options.fault_bills:
            self._billed.add(result.outcome.usage)
            tracked = digest if world.options.track_bodies else None
            world.ledger.bill(BATCH_TIER, result.model, result.outcome.usage, tracked)
        self._write(result_line(serial, custom_id, result.outcome), fate)

    def _answer(self, body: JsonObject, digest: bytes, fate: Fate) -> LineResult:
        world = self._world
        try:
            world.require_quota()
        except ApiError as error:
            return LineResult(str(body.get("model")), error)
        return run_line(self._endpoint, body, digest, fate, world.options, world.tokenizer, world.cached_tokens)

    def _choose_fate(self, digest: bytes) -> Fate:
        world = self._world
        if not self.is_expiring and not has_fates(world.options):
            return "answered"
        world.attempts[digest] += 1
        return choose_fate(world.options, digest, world.attempts[digest], is_expiring=self.is_expiring)

    def _write(self, line: bytes, fate: Fate) -> None:
        if fate == "missing":
            return
        if fate == "garbage":
            line = line[: len(line) // 2] + b"\n"
        self._output.write(line)
        if fate == "duplicate":
            self._output.write(line)

    def _leave_unrun(self, done: int) -> None:
        if not self._world.options.cancel_error_lines:
            return
        for offset in self._offsets[done:]:
            custom_id, _ = self._read(offset)
            self._errors.write(unrun_line(self._world.next_serial(), custom_id, "batch_cancelled"))
