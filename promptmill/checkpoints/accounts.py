"""Reads and writes an output's accounts: small records of money under `_checkpoints/ledger/`.

    ledger/run-<random>.json       one process that sends: what it paid for, and what a kill would lose (account.py)
    ledger/earlier.json            what was spent without an answer before the output had accounts
    ledger/cleaned-<random>.json   what the answers cost that `promptmill clean` removed

A damaged record would make the audit's bounds wrong, so it's an error and never 0.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter

from promptmill.account import Account, Usd
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.store import Listing, Store
from promptmill.errors import OutputError
from promptmill.state_files import StateFile

_LEDGER = "ledger/"
_EARLIER_NAME = f"{_LEDGER}earlier.json"
_RUN = f"{_LEDGER}run-"
_CLEANED = f"{_LEDGER}cleaned-"


@dataclass(frozen=True, slots=True)
class Earlier:
    """US dollars that may have been spent without an answer before the output had accounts."""

    at_most_usd: Usd


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The cost of removed answers."""

    known_usd: Usd
    at_most_usd: Usd
    batch_usd: Usd = ZERO_USD  # the part for answers by batch
    names: tuple[str, ...] = ()  # names of the removed files
    newest_at: float = 0.0  # time of the newest removed answer; a file with this name and newer answers is a new file


_WAY_ON = "Restore the file, or delete it: then the audit's bounds leave out the money that only this file knew."
_ACCOUNTS = StateFile(
    TypeAdapter(Account),
    purpose="It says what a process paid for, and what a kill may have lost.",
    way_on=_WAY_ON,
    damaged=OutputError,
    required=("spent_usd", "exposed_usd"),
)
_EARLIER = StateFile(
    TypeAdapter(Earlier),
    purpose="It says what was spent before the output had accounts.",
    way_on=_WAY_ON,
    damaged=OutputError,
)
_CLEANED_FILES = StateFile(
    TypeAdapter(Cleaned),
    purpose="It says what the answers cost that were removed.",
    way_on=_WAY_ON,
    damaged=OutputError,
)


@dataclass(frozen=True, slots=True)
class Accounts:
    """All records of one output."""

    runs: tuple[Account, ...]
    earlier: Earlier | None
    cleaned: tuple[Cleaned, ...]


class AccountRecords:
    """Reads and writes the records of one output. All calls block; safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def new_name(self) -> str:
        """A name for the account of a new process."""
        return f"{_RUN}{secrets.token_hex(8)}.json"

    def write(self, name: str, account: Account) -> None:
        """Replace a process's account. Raises: StorageFailed."""
        self._store.write(name, _ACCOUNTS.form.dump_json(account))

    def write_earlier(self, earlier: Earlier) -> None:
        """Record the money that was spent before there were accounts. Raises: StorageFailed."""
        self._store.write(_EARLIER_NAME, _EARLIER.form.dump_json(earlier))

    def write_cleaned(self, cleaned: Cleaned) -> None:
        """Record the cost of answers before they are removed. Raises: StorageFailed."""
        self._store.write(f"{_CLEANED}{secrets.token_hex(8)}.json", _CLEANED_FILES.form.dump_json(cleaned))

    def read(self, listing: Listing) -> Accounts:
        """Every record. Raises: StorageFailed; OutputError when one is damaged."""
        storage = self._store.storage
        runs = (_ACCOUNTS.read(storage, name) for name in _named(listing, _RUN))
        cleaned = (_CLEANED_FILES.read(storage, name) for name in _named(listing, _CLEANED))
        return Accounts(
            tuple(account for account in runs if account is not None),
            _EARLIER.read(storage, _EARLIER_NAME) if _EARLIER_NAME in listing.sizes else None,
            tuple(record for record in cleaned if record is not None),
        )


def has_accounts(listing: Listing) -> bool:
    """Whether the output has a ledger."""
    return any(name.startswith(_LEDGER) for name in listing.sizes)


def _named(listing: Listing, prefix: str) -> Iterator[str]:
    return (name for name in listing.sizes if name.startswith(prefix))
