"""Turns the outcome of an attempt at a shard into JSON values and back, for a file or a pipe."""

from dataclasses import dataclass
from typing import Any

from promptmill import errors
from promptmill.errors import Interrupted, PromptmillError, RunStopped
from promptmill.output.manifest import Manifest, manifest_values
from promptmill.sharding.plan import Outcome


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """The JSON form of an outcome."""

    manifest: Manifest | None
    error: str | None  # the name of its class in errors.py
    message: str | None

    def outcome(self) -> Outcome:
        """The outcome itself."""
        return Outcome(self.manifest, _error_of(self.error, self.message))


def outcome_values(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON values."""
    error = outcome.error
    return {
        "manifest": manifest_values(outcome.manifest) if outcome.manifest is not None else None,
        "error": _name_of(error) if error is not None else None,
        "message": str(error) if error is not None else None,
    }


def _name_of(error: PromptmillError) -> str:
    """The name of an error's nearest class in errors.py."""
    return next(kind.__name__ for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)


def _error_of(name: str | None, message: str | None) -> PromptmillError | None:
    """The error class in errors.py with this name."""
    if name is None:
        return None
    if name == Interrupted.__name__:
        return Interrupted()
    kind: object = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, PromptmillError):
        return kind(message or "")
    return RunStopped(message or "")
