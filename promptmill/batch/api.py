"""Files and batches at the provider, by the openai client; blocking, for a worker thread.

The client's own retries are off where a second try could create something twice. We repeat an upload only after we looked
for the file that the first try may have left, and a creation only after we searched the provider's list (policy.py).
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from promptmill.batch.api_errors import Absent, ExpiryRefused, NotNow, Translation
from promptmill.batch.policy import BatchView
from promptmill.batch.services import FORTNIGHT_SECONDS, service_at
from promptmill.batch.views import KEY, status_of, view_of
from promptmill.errors import ProviderRefused
from promptmill.job.spec import Job
from promptmill.provider.redaction import redact
from promptmill.provider.transport import Credentials, make_blocking_sdk

__all__ = ["BatchProvider", "NotNow"]  # most import the error together with what raises it

_READ_RETRIES = 4
_UPLOAD_TRIES = 5
_LONGEST_WAIT_SECONDS = 60.0
_CLOCK_SLACK_SECONDS = 600.0  # seconds by which our clock and the provider's may differ
_PAGE = 100
_BLOCK_BYTES = 1 << 20
FileState = Literal["ready", "pending", "failed"]
_FILE_STATES: dict[str, FileState] = {  # statuses as views.py reads them
    **dict.fromkeys(("queued", "in_progress", "validating"), "pending"),
    **dict.fromkeys(("failed", "deleted", "deleting", "cancelled", "expired"), "failed"),
}


class BatchProvider:
    """One provider's files and batches, for one key. Every method may raise ProviderRefused and NotNow."""

    def __init__(self, credentials: Credentials) -> None:
        """Raises: CredentialsError."""
        self.secrets: list[str] = []  # we cut these out of everything that the provider says; each new key is added
        self._connect(credentials)
        self.service = service_at(str(self._client.base_url))
        self._file_seconds = self.service.file_seconds

    def _connect(self, credentials: Credentials) -> None:
        self._client = make_blocking_sdk(credentials, self.secrets)
        self._reader = self._client.with_options(max_retries=_READ_RETRIES)

    def renew(self, credentials: Credentials) -> bool:
        """Use these credentials from now on; returns False if the client already uses them.

        Raises: CredentialsError.
        """
        before = {**self._client.default_headers, **self._client.auth_headers}
        self._connect(credentials)
        return before != {**self._client.default_headers, **self._client.auth_headers}

    def upload(self, path: Path, name: str, since: float) -> str:
        """Upload a batch file; returns its id."""
        for attempt in range(_UPLOAD_TRIES):
            try:
                return self._upload_once(path, name)
            except NotNow as error:
                if attempt == _UPLOAD_TRIES - 1:
                    raise
                time.sleep(min(error.wait_seconds * 2**attempt, _LONGEST_WAIT_SECONDS))
                if error.was_sent and (found := self.find_file(name, since)) is not None:
                    return found
        raise AssertionError

    def _upload_once(self, path: Path, name: str) -> str:
        """Upload the file with an expiry or without; if the provider refuses that, upload it the other way."""
        try:
            return self._upload_with(path, name, self._file_seconds)
        except ExpiryRefused:
            other = None if self._file_seconds is not None else FORTNIGHT_SECONDS
            file_id = self._upload_with(path, name, other)
            self._file_seconds = other
            return file_id

    def _upload_with(self, path: Path, name: str, seconds: int | None) -> str:
        with path.open("rb") as file, self._translated():
            given = (name, file, "application/jsonl")
            return self._client.files.create(file=given, purpose="batch", expires_after=_expiry(seconds)).id

    def look_at_file(self, file_id: str) -> tuple[FileState, str]:
        """A file's state and the provider's words on it. If the provider shows no files, the state is "ready"."""
        try:
            with self._translated():
                file = self._reader.files.retrieve(file_id)
        except ProviderRefused:
            return "ready", ""
        state = _FILE_STATES.get(status_of(file.status), "ready")
        return state, redact(str(file.status_details or file.status or ""), self.secrets)

    def find_file(self, name: str, since: float) -> str | None:
        """The id of an uploaded file with this name; None if there is none or if the provider lists no files."""
        try:
            with self._translated():
                for file in self._reader.files.list(purpose="batch", order="desc"):
                    if file.filename == name:
                        return file.id
                    if file.created_at < since - _CLOCK_SLACK_SECONDS:
                        return None
        except ProviderRefused:
            return None
        return None

    def create(self, file_id: str, endpoint: Any, window: Any, key: str, job: Job) -> BatchView:
        """Create a batch with one call, never repeated here. Raises: EndpointRefused."""
        with Translation(self.secrets, endpoint):
            batch = self._client.batches.create(
                input_file_id=file_id,
                endpoint=endpoint,
                completion_window=window,
                metadata={**job.tags, KEY: key, "promptmill_job": job.name[:512]},
                output_expires_after=_expiry(self.service.file_seconds),
            )
            return view_of(batch, self.secrets)

    def find_batch(self, key: str, file_id: str, since: float) -> BatchView | None:
        """The batch that has our key or this file. If there are several, keep the one furthest along and cancel the others."""
        found: list[BatchView] = []
        with self._translated():
            for batch in self._reader.batches.list(limit=_PAGE):
                view = view_of(batch, self.secrets)
                if view.key == key or (not view.key and view.input_file_id == file_id):
                    found.append(view)
                if view.created_at and view.created_at < since - _CLOCK_SLACK_SECONDS:
                    break
        best = max(found, key=_furthest, default=None)
        for other in found:
            if other is not best:
                self.cancel(other.id)
        return best

    def retrieve(self, batch_id: str) -> BatchView | None:
        """A batch as it is now; None if the provider shows this key no batch with this id."""
        try:
            with self._translated():
                return view_of(self._reader.batches.retrieve(batch_id), self.secrets)
        except Absent:
            return None

    def cancel(self, batch_id: str) -> None:
        """Ask the provider to end a batch early. If the batch is already over, nothing happens."""
        try:
            with self._translated():
                self._reader.batches.cancel(batch_id)
        except ProviderRefused:
            pass

    def download(self, file_id: str, path: Path) -> bool:
        """Stream a file to disk; False if the provider doesn't have it yet, or has it no longer."""
        try:
            with (
                self._translated(),
                self._reader.files.with_streaming_response.content(file_id) as response,
                path.open("wb") as file,
            ):
                for block in response.iter_bytes(_BLOCK_BYTES):
                    file.write(block)
        except Absent:
            return False
        return True

    def _translated(self) -> Translation:
        return Translation(self.secrets)

    def delete(self, file_ids: Iterable[str]) -> None:
        """Delete files. If the provider refuses, leave the file: it expires by itself."""
        for file_id in file_ids:
            try:
                with self._translated():
                    self._reader.files.delete(file_id)
            except (ProviderRefused, NotNow):
                continue


def _furthest(view: BatchView) -> tuple[bool, int, float]:
    return (view.status not in {"failed", "cancelled", "cancelling"}, view.completed, -view.created_at)


def _expiry(seconds: int | None) -> Any:
    """When the provider may delete a file, as the openai client takes it."""
    from openai import omit

    return omit if seconds is None else {"anchor": "created_at", "seconds": seconds}
