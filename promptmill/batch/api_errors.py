"""The errors of the Batch API, and how the openai client's errors become these."""

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import httpx2

from promptmill.errors import PromptmillError, ProviderRefused
from promptmill.provider.addresses import REFUSED_LOCATION
from promptmill.provider.error_body import ErrorBody, read_error
from promptmill.provider.redaction import redact
from promptmill.provider.retry_policy import RenewKey, StopRun, TryAgain, describe_redirect
from promptmill.provider.verdict import verdict_on, without_evidence

if TYPE_CHECKING:
    import openai

_DEFAULT_WAIT_SECONDS = 2.0
_UNPROCESSED = re.compile(r"not (yet )?(in a |been )?(processed|ready)|still (being )?(process|import)", re.IGNORECASE)
_OWN = (400, 404, 409, 422)


class NotNow(PromptmillError):
    """The provider didn't answer, or asks us to wait. `was_sent`: the provider may have done what we asked."""

    def __init__(self, message: str, wait_seconds: float, was_sent: bool) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.was_sent = was_sent


class KeyRefused(ProviderRefused):
    """The provider refuses the key, which it may have taken before."""


class Absent(ProviderRefused):
    """The provider answered 404."""


class FileTooLarge(ProviderRefused):
    """The provider, or a proxy before it, refuses a file of this size."""


class EndpointRefused(ProviderRefused):
    """The provider refuses batches for the endpoint in this spelling."""


class ExpiryRefused(ProviderRefused):
    """The provider refuses a file because it has an expiry, or because it has none."""


class Translation:
    """Turn the client's errors into ours and cut out the secrets. The cause is dropped, since it quotes the provider."""

    def __init__(self, secrets: Sequence[str], endpoint: str = "") -> None:
        """`endpoint` is the endpoint of the batch that the call creates."""
        self._secrets = secrets
        self._endpoint = endpoint

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        import openai  # takes half a second, and runs without batches need none of it

        if isinstance(error, openai.APIStatusError):
            raise _translate_status(error, self._secrets, self._endpoint) from None
        if isinstance(error, openai.APIError | httpx2.HTTPError):
            reason = redact(
                f"{error} ({error.__cause__})" if error.__cause__ is not None else str(error), self._secrets
            )
            raise NotNow(f"the provider can't be reached ({reason})", _DEFAULT_WAIT_SECONDS, was_sent=True) from None


def _translate_status(error: "openai.APIStatusError", secrets: Sequence[str], endpoint: str) -> PromptmillError:
    found = read_error(error.response.content if error.response.is_closed else b"", secrets)
    path, status = error.request.url.path, error.status_code
    if status == 413 and path.endswith("/files"):
        return FileTooLarge(f"the provider takes no file of this size (413): {found.message}")
    if status in {404, 405} and path.endswith(("/files", "/batches")) and not _names(endpoint, found.message):
        return ProviderRefused(
            f"the provider at {error.request.url.host} has no Batch API ({status} for {path}). Run the job "
            "without --mode batch, or `promptmill batches export` and run the files where they can be run."
        )
    if status == 409 and path.endswith("/cancel"):
        return ProviderRefused(found.message)  # the batch is already over
    if status == 404 and not endpoint:
        return Absent(found.message)
    if 300 <= status < 400:
        location = error.response.headers.get(REFUSED_LOCATION, "")
        return ProviderRefused(f"The run was stopped: {describe_redirect(status, location)}")
    if status in _OWN and (named := _named_refusal(found, path, status, endpoint)) is not None:
        return named
    meant = verdict_on(status, error.response.headers, found, time.time())
    verdict = without_evidence(meant)
    if isinstance(verdict, TryAgain):
        wait = verdict.wait_seconds if verdict.wait_seconds is not None else _DEFAULT_WAIT_SECONDS
        return NotNow(verdict.message, wait, was_sent=status != 429)
    if isinstance(verdict, StopRun):
        kind = KeyRefused if isinstance(meant, RenewKey) else ProviderRefused
        return kind(f"The run was stopped: {verdict.message}")
    return ProviderRefused(f"the provider refused {path} ({status}): {verdict.message}")


def _named_refusal(found: ErrorBody, path: str, status: int, endpoint: str) -> PromptmillError | None:
    """The error for a refusal that we can do something about; None if we don't know the provider's words."""
    message = f"the provider refused {path} ({status}): {found.message}"
    if endpoint and _UNPROCESSED.search(found.message):
        return NotNow(found.message, _DEFAULT_WAIT_SECONDS, was_sent=False)
    if _names(endpoint, found.message):
        return EndpointRefused(message)
    if path.endswith("/files") and "expir" in f"{found.message} {found.param}".lower():
        return ExpiryRefused(f"{message} Delete files that nobody needs at the provider, then run the job again.")
    return None


def _names(endpoint: str, message: str) -> bool:
    """Whether a message blames the endpoint of a batch."""
    return bool(endpoint) and (endpoint in message or "endpoint" in message.lower())
