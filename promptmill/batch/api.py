"""Files and batches at the provider, by the openai client; blocking, for a worker thread.

The client's own retries are off where a repetition could create something twice. An upload is tried again only after a
look for the file that the lost one may have left; a creation only after a search of the provider's list (policy.py).
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import openai
from openai.types import Batch as ApiBatch

from promptmill.batch.policy import BatchView
from promptmill.errors import PromptmillError, ProviderRefused
from promptmill.provider.error_body import read_error
from promptmill.provider.home import REFUSED_LOCATION
from promptmill.provider.redaction import redact
from promptmill.provider.retry_policy import StopRun, TryAgain, describe_redirect
from promptmill.provider.transport import Credentials, make_blocking_sdk, sent_secrets
from promptmill.provider.verdict import verdict_on, without_evidence

_KEY = "promptmill_batch"  # of a batch's metadata
_READ_RETRIES = 4
_UPLOAD_TRIES = 5
_LONGEST_WAIT_SECONDS = 60.0
_DEFAULT_WAIT_SECONDS = 2.0
_CLOCK_SLACK_SECONDS = 600.0  # between our clock and the provider's
_PAGE = 100
_BLOCK_BYTES = 1 << 20


class NotNow(PromptmillError):
    """The provider didn't answer, or asks us to wait; `was_sent`: it may have done what we asked."""

    def __init__(self, message: str, wait_seconds: float, was_sent: bool) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.was_sent = was_sent


class BatchProvider:
    """One provider's files and batches, for one key. Every method may raise ProviderRefused and NotNow."""

    def __init__(self, credentials: Credentials) -> None:
        """Raises: CredentialsError."""
        self._client = make_blocking_sdk(credentials)
        self.secrets = sent_secrets(self._client)  # cut out of everything that the provider says
        self._reader = self._client.with_options(max_retries=_READ_RETRIES)

    def upload(self, path: Path, name: str, since: float) -> str:
        """Upload a batch file; returns its id."""
        for attempt in range(_UPLOAD_TRIES):
            try:
                with path.open("rb") as file, self._translated():
                    return self._client.files.create(file=(name, file, "application/jsonl"), purpose="batch").id
            except NotNow as error:
                if attempt == _UPLOAD_TRIES - 1:
                    raise
                time.sleep(min(error.wait_seconds * 2**attempt, _LONGEST_WAIT_SECONDS))
                if error.was_sent and (found := self.find_file(name, since)) is not None:
                    return found
        raise AssertionError

    def find_file(self, name: str, since: float) -> str | None:
        """The id of an uploaded file of that name; None where there is none, or the provider lists no files."""
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

    def create(self, file_id: str, endpoint: Any, window: Any, key: str, job: str) -> BatchView:
        """Create a batch, once."""
        with self._translated():
            batch = self._client.batches.create(
                input_file_id=file_id,
                endpoint=endpoint,
                completion_window=window,
                metadata={_KEY: key, "promptmill_job": job[:512]},
            )
            return _view_of(batch, self.secrets)

    def find_batch(self, key: str, file_id: str, since: float) -> BatchView | None:
        """The batch that carries our key or was made of that file; of several, the furthest, and the rest are cancelled."""
        found: list[BatchView] = []
        with self._translated():
            for batch in self._reader.batches.list(limit=_PAGE):
                view = _view_of(batch, self.secrets)
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
        """A batch as it is now; None when this key knows none of that id."""
        try:
            with self._translated():
                return _view_of(self._reader.batches.retrieve(batch_id), self.secrets)
        except _Absent:
            return None

    def cancel(self, batch_id: str) -> None:
        """Ask the provider to end a batch early; a batch that is over already is no error."""
        try:
            with self._translated():
                self._reader.batches.cancel(batch_id)
        except ProviderRefused:
            pass

    def download(self, file_id: str, path: Path) -> bool:
        """Stream a file to disk; False when it isn't there (yet, or any more)."""
        try:
            with (
                self._translated(),
                self._reader.files.with_streaming_response.content(file_id) as response,
                path.open("wb") as file,
            ):
                for block in response.iter_bytes(_BLOCK_BYTES):
                    file.write(block)
        except _Absent:
            return False
        return True

    def _translated(self) -> "_Translation":
        return _Translation(self.secrets)

    def delete(self, file_ids: Iterable[str]) -> None:
        """Delete files; those that can't be deleted expire by themselves."""
        for file_id in file_ids:
            try:
                with self._translated():
                    self._reader.files.delete(file_id)
            except (ProviderRefused, NotNow):
                continue


class _Absent(ProviderRefused):
    """The provider answered 404."""


class _Translation:
    """The client's errors as ours, the secrets cut out; theirs aren't kept as causes, since they quote the provider."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, openai.APIStatusError):
            raise _translate_status(error, self._secrets) from None
        if isinstance(error, openai.APIError | httpx2.HTTPError):
            reason = redact(
                f"{error} ({error.__cause__})" if error.__cause__ is not None else str(error), self._secrets
            )
            raise NotNow(f"the provider can't be reached ({reason})", _DEFAULT_WAIT_SECONDS, was_sent=True) from None


def _translate_status(error: openai.APIStatusError, secrets: Sequence[str]) -> PromptmillError:
    found = read_error(error.response.content if error.response.is_closed else b"", secrets)
    path = error.request.url.path
    if error.status_code in {404, 405} and path.endswith(("/files", "/batches")):
        return ProviderRefused(
            f"the provider at {error.request.url.host} has no Batch API ({error.status_code} for {path}). Run the job "
            "without --mode batch, or `promptmill batches export` and run the files where they can be run."
        )
    if error.status_code == 409 and path.endswith("/cancel"):
        return ProviderRefused(found.message)  # it is over already
    if error.status_code == 404:
        return _Absent(found.message)
    if 300 <= error.status_code < 400:
        location = error.response.headers.get(REFUSED_LOCATION, "")
        return ProviderRefused(f"The run was stopped: {describe_redirect(error.status_code, location)}")
    verdict = without_evidence(verdict_on(error.status_code, error.response.headers, found, time.time()))
    if isinstance(verdict, TryAgain):
        wait = verdict.wait_seconds if verdict.wait_seconds is not None else _DEFAULT_WAIT_SECONDS
        return NotNow(verdict.message, wait, was_sent=error.status_code != 429)
    if isinstance(verdict, StopRun):
        return ProviderRefused(f"The run was stopped: {verdict.message}")
    return ProviderRefused(f"the provider refused {path} ({error.status_code}): {verdict.message}")


def _view_of(batch: ApiBatch, secrets: Sequence[str]) -> BatchView:
    """What we keep of a batch; providers leave out or misname many fields."""
    counts = batch.request_counts
    errors = (batch.errors.data if batch.errors is not None else None) or []
    return BatchView(
        id=batch.id,
        status=redact(str(batch.status), secrets).lower(),
        input_file_id=batch.input_file_id or "",
        output_file_id=batch.output_file_id or "",
        error_file_id=batch.error_file_id or "",
        completed=counts.completed if counts is not None else 0,
        failed=counts.failed if counts is not None else 0,
        total=counts.total if counts is not None else 0,
        created_at=float(batch.created_at or 0),
        expires_at=float(batch.expires_at) if batch.expires_at else None,
        key=str((batch.metadata or {}).get(_KEY) or ""),
        errors=tuple((redact(error.code or "", secrets), redact(error.message or "", secrets)) for error in errors),
    )


def _furthest(view: BatchView) -> tuple[bool, int, float]:
    return (view.status not in {"failed", "cancelled", "cancelling"}, view.completed, -view.created_at)
