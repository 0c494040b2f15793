"""A job's batches without a provider: waves go out, and each batch ends as a test says."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from promptmill.batch.api import BatchProvider
from promptmill.batch.collection import BatchCollection
from promptmill.batch.files import BatchFile
from promptmill.batch.ledger import BatchRecord, Ledger
from promptmill.batch.pending_rows import PendingRows
from promptmill.batch.plan_record import forget_plan
from promptmill.batch.policy import EMPTY_LOOKS, BatchView
from promptmill.batch.services import Service
from promptmill.batch.submit import Outcome, Sources, submit_wave
from promptmill.checkpoints.store import Store
from promptmill.planning.kept import again_from, find_kept
from promptmill.runs.run import PendingRun
from promptmill.storage import Storage
from tests.support.odd_batches import chat

Fate = Literal["answered", "refused", "failed", "unrun", "unread", "lost"]  # what becomes of a line


class Killed(BaseException):
    """The process ends here."""


@dataclass
class _Files:
    """The provider's part in a collection."""

    lines: Sequence[dict[str, Any]]
    secrets: tuple[str, ...] = ()

    def download(self, file_id: str, path: Path) -> bool:
        """The result file."""
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        return True


def line_of(custom_id: str, fate: Fate) -> dict[str, Any]:
    """A line of a result file."""
    if fate == "unrun":
        error = {"code": "batch_expired", "message": "it expired"}
        return {"id": "b", "custom_id": custom_id, "response": None, "error": error}
    status = {"refused": 400, "failed": 500}.get(fate, 200)
    body: Any = chat() if status == 200 else {"error": {"message": fate, "type": "invalid_request_error"}}
    if fate == "unread":
        body = {"id": "x"}
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": custom_id, "response": response, "error": None}


@dataclass
class Waves:
    """One output's batches; each method is what a process of its own would do."""

    run: PendingRun
    now: float = 2e9  # later than all that a run of today writes
    plans: int = 0  # whole plans that were asked for
    ids: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # key → custom_ids in a batch's file

    @property
    def store(self) -> Store:
        """The answers."""
        return self.run.prepared.store

    def ledger(self) -> Ledger:
        """The ledger as a new process reads it."""
        return Ledger(self.store.storage).load()

    def begin(self, again: bool | None = False) -> None:
        """A run starts; it asks failures of passing kinds again, or all of them, or with None no failure."""
        self.now += 10
        ledger = self.ledger()
        before = None if again is None else self.now
        ledger.restart(replace(ledger.state.learned, started_at=self.now, retry_before=before, retry_all=again is True))
        forget_plan(ledger)

    def submit(self, files: int, requests: int, *, killed_at: str = "") -> tuple[Outcome, list[str]]:
        """A wave of at most so many files and requests a file; returns the custom_ids that it submitted."""
        self.now += 10
        ledger, sent = self.ledger(), list[str]()
        left = [files]

        def take(file: BatchFile, is_canary: bool) -> bool:
            if killed_at == "before-intent":
                raise Killed
            record = ledger.intend(file, self.now, endpoint="/v1/chat/completions", is_canary=is_canary)
            assert record is not None
            self.ids[record.key] = [json.loads(line)["custom_id"] for line in file.path.read_bytes().splitlines()]
            if killed_at == "after-intent":
                raise Killed
            ledger.save(replace(record, state="submitted", batch_id=record.key), self.now)
            sent.extend(self.ids[record.key])
            left[0] -= 1
            return left[0] > 0

        service = Service(max_requests=requests)
        return submit_wave(Sources(self._plan, lambda: self.run.prepared), ledger, service, self.now, take), sent

    def _plan(self) -> PendingRun:
        self.plans += 1
        return self.run

    def end(self, key: str, fates: Sequence[Fate], *, status: str = "completed", is_lossy: bool = False) -> None:
        """A batch ends, and is collected; the n-th line has the n-th fate."""
        self.now += 10
        ledger = self.ledger()
        ids = self.ids[key]
        given = [line_of(name, fate) for name, fate in zip(ids, fates, strict=True) if fate != "lost"]
        failed = sum(fate in {"failed", "refused", "unrun"} for fate in fates)
        record = replace(ledger.records[key], status=status, failed=failed, empty_looks=EMPTY_LOOKS)
        told = len(ids) if is_lossy else len(given)
        view = BatchView(key, status, "f", "out", "", told - failed, failed, len(ids), 0.0, None, key)

        def save(record: BatchRecord, **changes: Any) -> BatchRecord:
            return ledger.save(replace(record, **changes), self.now)

        files = cast("BatchProvider", _Files(given))
        BatchCollection(ledger, files, save, lambda: self.run.prepared, {}).collect(record, view)

    def answer_all(self) -> None:
        """Every live batch ends, with an answer for each row."""
        for record in self.ledger().live:
            answers: list[Fate] = ["answered"] * record.requests
            self.end(record.key, answers)

    def drop(self, key: str) -> None:
        """A batch is given up before it was run."""
        ledger = self.ledger()
        ledger.save(replace(ledger.records[key], state="dropped"), self.now)

    def looked_up(self, folder: Path) -> list[str]:
        """The rows that a look at all of them would submit now, in order; it is done on a copy of the checkpoints."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.store.storage.place.removeprefix("file://"), folder)
        copy = Store(Storage(str(folder)))
        ledger = Ledger(copy.storage).load()
        state = ledger.state
        kept = find_kept(copy, self.run.preflight.plan, again_from(state.retry_before, state.retry_all))
        run = replace(self.run, prepared=replace(self.run.prepared, store=copy))
        return [request.custom_id for _, request in PendingRows(run, ledger, kept, self.now)]
