"""Stores uploaded and produced files: contents on disk, descriptions in memory.

A file belongs to the key that made it. For any other key it doesn't exist, as between two projects of the provider.
Object fields and page parameters: OpenAI's Files API, read 2026-11-24.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from promptmill.simulator.errors import ApiError, invalid
from promptmill.simulator.wire import JsonObject

INPUT_LIFETIME_SECONDS = 30 * 86_400  # of a file for batches, and of a batch's results


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file's description."""

    id: str
    key: str  # API key of its owner
    filename: str
    purpose: str  # as uploaded, or batch_output
    size_bytes: int
    created_at: int  # seconds since epoch
    expires_at: int | None  # seconds since epoch
    visible_at: float  # monotonic seconds; until then the file answers 404
    path: Path

    def as_json(self) -> JsonObject:
        """The `file` object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size_bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class FileStore:
    """All files of a running simulator, gone with it."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._records: dict[str, FileRecord] = {}
        self._serial = 0

    def reserve(self) -> Path:
        """A new path to write to."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="simulator-", ignore_cleanup_errors=True)
        self._serial += 1
        return Path(self._folder.name) / f"file-{self._serial:022d}"

    def add(
        self,
        path: Path,
        *,
        key: str,
        filename: str,
        purpose: str,
        lifetime_seconds: int | None = None,
        hidden_seconds: float = 0.0,
    ) -> FileRecord:
        """Register what was written to a reserved path."""
        created = int(time.time())
        record = FileRecord(
            id=path.name,
            key=key,
            filename=filename,
            purpose=purpose,
            size_bytes=path.stat().st_size,
            created_at=created,
            expires_at=None if lifetime_seconds is None else created + lifetime_seconds,
            visible_at=time.monotonic() + hidden_seconds,
            path=path,
        )
        self._records[record.id] = record
        return record

    def find(self, key: str, file_id: str) -> FileRecord:
        """A file of that key. Raises: ApiError 404 for one that is not there, not yet there, or another key's."""
        record = self._records.get(file_id)
        if record is None or record.key != key or record.visible_at > time.monotonic():
            raise ApiError(404, f"No such File object: {file_id}", param="id")
        return record

    def select(self, key: str, purpose: str | None) -> list[FileRecord]:
        """The files of that key, oldest first."""
        now = time.monotonic()
        mine = (record for record in self._records.values() if record.key == key and record.visible_at <= now)
        return [record for record in mine if purpose is None or record.purpose == purpose]

    def delete(self, key: str, file_id: str) -> None:
        """Delete a file. Raises: ApiError 404."""
        record = self.find(key, file_id)
        del self._records[file_id]
        record.path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete everything."""
        self._records.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def make_page(items: Sequence[JsonObject], after: str | None, limit: int) -> JsonObject:
    """One page of a list, from behind the item whose id is `after`. Raises: ApiError 400 for an unknown id."""
    start = 0
    if after is not None:
        places = [index for index, item in enumerate(items) if item["id"] == after]
        if not places:
            raise invalid(f"Invalid 'after': no object with id '{after}'.", "after", "invalid_value")
        start = places[0] + 1
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": [*page],
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }


def read_limit(text: str | None, default: int, most: int) -> int:
    """A page's size. Raises: ApiError 400 outside 1 to `most`."""
    if text is None:
        return default
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise invalid(f"Invalid 'limit': expected an integer from 1 to {most}, but got {text!r}.", "limit")
    return int(text)
