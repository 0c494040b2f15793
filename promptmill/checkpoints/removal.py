"""Removes answers, but first writes down their cost, so that the audit still counts it."""

from collections.abc import Sequence

from promptmill.arrow import pc
from promptmill.checkpoints.accounts import AccountRecords, Cleaned
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.kept_money import read_kept_money
from promptmill.checkpoints.store import Store


def remove_answers(store: Store, names: Sequence[str]) -> None:
    """Write the cost that only these answer files know into the ledger, then remove the files and their records.

    A kill in between counts no cost twice. Blocks; call it only while no run works on the output.
    Raises: StorageFailed; OutputError for a damaged record.
    """
    files = [name for name in names if name.endswith(".parquet")]
    if files:
        AccountRecords(store).write_cleaned(_cost_of(store, files))
    store.delete(names)


def _cost_of(store: Store, files: Sequence[str]) -> Cleaned:
    """The cost that only these files know: an answer that another file holds too still counts there."""
    cleaned = AccountRecords(store).read(store.listing()).cleaned
    before = read_kept_money(store, cleaned)[0].sums()
    after = read_kept_money(store, cleaned, files)[0].sums()
    known_usd = max(ZERO_USD, before.known_usd - after.known_usd)
    times = [pc.max(table["answered_at"]).as_py() for _, table in store.load_all(files, ["answered_at"])]
    return Cleaned(
        known_usd=known_usd,
        at_most_usd=max(known_usd, before.at_most_usd - after.at_most_usd),
        batch_usd=max(ZERO_USD, before.batch.usd - after.batch.usd),
        names=tuple(files),
        newest_at=max((time for time in times if time is not None), default=0.0),
    )
