"""Keeps answers on this machine if the storage fails, until a run over the same output stores them.

    <folder>/<digest of the output's URL>/<chunk key>-<random>.parquet

These answers are paid for, and a storage may be away for longer than a run waits: its credentials expired, its disk is
full. Only answers are kept here. A run never takes records of money or batches from here.
"""

import logging
import os
import secrets
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from promptmill.checkpoints.answer_files import decode_answers
from promptmill.checkpoints.store import ROWS, Store
from promptmill.errors import CheckpointUnreadable
from promptmill.home_folder import prefect_home
from promptmill.storage import write_whole

_SETTING = "PROMPTMILL_UNSAVED_FOLDER"
log = logging.getLogger("promptmill")


class SetAside:
    """The answers of one output that lie on this machine. All calls block; safe to use from many processes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        digest = blake2b(store.storage.place.encode(), digest_size=8).hexdigest()
        named = os.environ.get(_SETTING)
        self.folder = (Path(named) if named else prefect_home() / "promptmill" / "unsaved") / digest

    def keep(self, key: str, data: bytes) -> bool:
        """Keep the bytes of a chunk's answer file; False if this machine can't keep them either."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(str(self.folder / f"{key}-{secrets.token_hex(6)}.parquet"), data)
        except OSError as error:
            log.warning("answers can't be kept in %s either: %s", self.folder, error)
            return False
        return True

    def forget(self, key: str) -> None:
        """Remove a chunk's answers from this machine, since the storage holds them now."""
        for path in self._files(f"{key}-*.parquet"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # the folder still has answers of other chunks
            self.folder.rmdir()

    def rows(self) -> int:
        """How many answers lie here, not counting damaged files."""
        found = 0
        for path in self._files():
            with suppress(OSError, CheckpointUnreadable):
                found += decode_answers(path.read_bytes(), ("custom_id",)).num_rows
        return found

    def bring_back(self) -> None:
        """Move all answers from here to the storage. Raises: StorageFailed; the remaining answers stay here."""
        stored = 0
        for path in self._files():
            try:
                data = path.read_bytes()
                rows = decode_answers(data, ("custom_id",)).num_rows
            except FileNotFoundError:  # another process has just stored it
                continue
            except (OSError, CheckpointUnreadable) as error:
                log.warning("the answers in %s can't be read, so the run asks for their rows again: %s", path, error)
                continue
            self._store.write(f"{ROWS}{path.name}", data)
            path.unlink(missing_ok=True)
            stored += rows
        if stored:
            log.info("%d answers that an earlier run could not store are stored now", stored)
        with suppress(OSError):
            self.folder.rmdir()

    def _files(self, pattern: str = "*.parquet") -> list[Path]:
        return sorted(self.folder.glob(pattern))
