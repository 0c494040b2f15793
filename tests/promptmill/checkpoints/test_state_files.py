"""One rule for every state file: what can be made again is, with a warning; what guards money or cancelling is an error."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from promptmill.account import Account
from promptmill.batch import registry
from promptmill.batch.ledger import RECORD, STATE, BatchRecord, Ledger, LedgerState
from promptmill.checkpoints.accounts import AccountRecords, Earlier
from promptmill.checkpoints.spend import SpendRecords
from promptmill.checkpoints.store import Listing, Store
from promptmill.errors import OutputError, PromptmillError, StorageFailed
from promptmill.limits.approved_cap import read_approved, write_approved
from promptmill.output.manifest import manifest_values, read_manifest
from promptmill.output.publishing import PUBLISHING, begin_publishing, settle_publishing
from promptmill.sharding.folder import ShardFolder
from promptmill.sharding.plan import Outcome, ShardPlan
from promptmill.storage import Storage
from tests.support.jobs import MakeJob
from tests.support.unreliable import Unreliable

RECORD_NAME = "batches/abc-0.json"


@dataclass(frozen=True)
class Kind:
    """One kind of state file, how it's read, and what follows."""

    name: str
    write: Callable[[Storage, Any], object]
    read: Callable[[Storage], object]
    damaged: type[PromptmillError] | None  # None: counts as missing, with a warning
    unreadable: type[PromptmillError] = StorageFailed
    missing: object = None


def _record() -> BatchRecord:
    return BatchRecord("abc-0", 1, 2, 3, Decimal(4), 5.0)


def _shard_plan(make_job: MakeJob) -> ShardPlan:
    return ShardPlan(make_job(3), "f", [], {}, [(0, 1)], [None], None)


def _save_state(storage: Storage, _: MakeJob) -> None:
    Ledger(storage).save_state(LedgerState(is_cancelled=True))


def _read_record(storage: Storage) -> object:
    return Ledger(storage).load().records.get("abc-0")


def _accounts(storage: Storage, name: str) -> object:
    found = AccountRecords(Store(storage)).read(Listing.of({name: 1}))
    return found.runs[0] if found.runs else found.earlier


def _folder(storage: Storage) -> ShardFolder:
    return ShardFolder(Store(storage), "r")


KINDS = [
    pytest.param(
        Kind(
            "spend.json",
            lambda storage, _: SpendRecords(Store(storage)).write(Decimal(7)),
            lambda storage: SpendRecords(Store(storage)).read(),
            OutputError,
            missing=Decimal(0),
        ),
        id="spend",
    ),
    pytest.param(
        Kind(
            "ledger/run-1.json",
            lambda storage, _: AccountRecords(Store(storage)).write("ledger/run-1.json", Account(1.0)),
            lambda storage: _accounts(storage, "ledger/run-1.json"),
            OutputError,
        ),
        id="account",
    ),
    pytest.param(
        Kind(
            "ledger/earlier.json",
            lambda storage, _: AccountRecords(Store(storage)).write_earlier(Earlier(Decimal(7))),
            lambda storage: _accounts(storage, "ledger/earlier.json"),
            OutputError,
        ),
        id="earlier-spending",
    ),
    pytest.param(
        Kind(
            "approved.json",
            lambda storage, _: write_approved(storage, Decimal(7)),
            read_approved,
            OutputError,
            unreadable=OutputError,
        ),
        id="approved",
    ),
    pytest.param(
        Kind(
            RECORD_NAME,
            lambda storage, _: storage.write(RECORD_NAME, RECORD.dump_json(_record())),
            _read_record,
            StorageFailed,
        ),
        id="batch-record",
    ),
    pytest.param(
        Kind(STATE, _save_state, lambda storage: Ledger(storage).load().state, StorageFailed, missing=LedgerState()),
        id="ledger-state",
    ),
    pytest.param(
        Kind(
            "shards/r/plan.json",
            lambda storage, make_job: _folder(storage).write_plan(_shard_plan(make_job)),
            lambda storage: _folder(storage).read_plan(),
            None,
        ),
        id="shard-plan",
    ),
    pytest.param(
        Kind(
            "shards/r/outcome-0-1.json",
            lambda storage, _: _folder(storage).write_outcome(0, 1, Outcome(None, StorageFailed("x"))),
            lambda storage: _folder(storage).read_outcome(0, 1),
            None,
        ),
        id="shard-outcome",
    ),
    pytest.param(
        Kind(
            PUBLISHING,
            lambda storage, _: begin_publishing(storage, None, ["part-01234567-00000.parquet"]),
            lambda storage: settle_publishing(storage, None),
            None,
        ),
        id="publishing",
    ),
]
DAMAGE = [
    pytest.param(lambda data: data[: len(data) // 2], id="torn"),
    pytest.param(lambda data: b"", id="empty"),
    pytest.param(lambda data: b'{"someone": "else"}', id="foreign-object"),
    pytest.param(lambda data: b"{}", id="empty-object"),
    pytest.param(lambda data: b"[1, 2]", id="foreign-list"),
    pytest.param(lambda data: b"null", id="null"),
    pytest.param(lambda data: b"\xff\xfe", id="no-text"),
    pytest.param(lambda data: data.replace(b":", b':{"x":1},"y":', 1), id="wrong-type"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_state_file_is_no_error(kind: Kind, tmp_path: Path) -> None:
    assert kind.read(Storage(str(tmp_path))) == kind.missing


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_state_file_is_an_error_where_it_guards_something_and_a_warning_elsewhere(
    kind: Kind,
    damage: Callable[[bytes], bytes],
    tmp_path: Path,
    make_job: MakeJob,
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = Storage(str(tmp_path))
    kind.write(storage, make_job)
    storage.write(kind.name, damage(storage.read(kind.name)))

    if kind.damaged is not None:
        with pytest.raises(kind.damaged, match=r"is damaged \(.*\)\. It says .*(Restore|delete)"):
            kind.read(storage)
        return
    with caplog.at_level(logging.WARNING, "promptmill"):
        assert kind.read(storage) is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"{kind.name} is damaged" in line


@pytest.mark.parametrize("kind", KINDS)
def test_a_storage_that_does_not_answer_is_an_error_of_ours(kind: Kind, tmp_path: Path, make_job: MakeJob) -> None:
    storage = Unreliable(str(tmp_path))
    kind.write(storage, make_job)
    storage.failures = 1

    with pytest.raises(kind.unreadable, match="can't be read: .*away for a moment"):
        kind.read(storage)
    assert kind.read(storage) is None or kind.name != PUBLISHING


def test_a_listing_that_fails_is_an_error_of_ours(tmp_path: Path) -> None:
    storage = Unreliable(str(tmp_path))
    storage.failures = 1

    with pytest.raises(StorageFailed, match="can't be listed: .*Give access"):
        Store(storage).listing()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_of_the_registry_keeps_no_other_job_from_its_turn(
    damage: Callable[[bytes], bytes],
    tmp_path: Path,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(registry.STATE_SETTING, str(tmp_path / "state"))
    bad = registry.register(make_job(3, name="bad"), False, ())
    registry.register(make_job(3, name="good"), True, ("run",))
    storage = registry.registry()
    storage.write(bad.name, damage(storage.read(bad.name)))

    assert [(entry.job.name, entry.retry_failed) for entry in registry.registered()] == [("good", True)]
    assert "run the job again" in caplog.text


def test_a_cancelled_job_stays_cancelled_when_its_state_is_torn(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    Ledger(storage).save_state(LedgerState(is_cancelled=True))
    storage.write(STATE, storage.read(STATE)[:-3])

    with pytest.raises(StorageFailed, match="guards against submitting more"):
        Ledger(storage).load()


def test_an_outcome_with_a_manifest_comes_back(tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.promptmill.output.test_parts import finished

    manifest = replace(finished([]), started_at=datetime.now(UTC).replace(microsecond=0))
    folder = _folder(Storage(str(tmp_path)))
    folder.write_outcome(0, 1, Outcome(manifest, None))
    outcome = folder.read_outcome(0, 1)

    assert outcome is not None and outcome.manifest is not None
    assert manifest_values(outcome.manifest) == manifest_values(manifest)
    assert read_manifest(Storage(str(tmp_path))) is None
