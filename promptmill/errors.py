"""What can go wrong, as one hierarchy; each class carries the exit code it ends a command with.

    PromptmillError
    ├── SetupError               2    nothing was sent: the job or its environment is wrong
    │   ├── JobError                    the job file, its templates, its schema, its price
    │   ├── DatasetError                the input can't be read, or isn't what the job says
    │   ├── OutputError                 the output can't be written, or belongs to another job
    │   │   └── OutputInUse                 another run works on it, and this one was told not to wait
    │   ├── CredentialsError            credentials that can't be used, or that the provider refuses
    │   │   └── NoKeyFound                  neither the environment nor the job names a key
    │   └── ProviderUnreachable         nobody answers at the provider's address
    ├── RunStopped               1    the run ended early; all that was paid for is kept
    │   ├── ProviderRefused             401, no quota, an unknown model, a wait of hours
    │   ├── TooManyFailures             more failed rows than `max_failure_ratio` allows
    │   ├── StorageFailed               a checkpoint or a part could not be written
    │   ├── InputChanged                the input isn't what it was when the run was planned
    │   ├── InputWrong           2      what is wrong with rows that were planned while the run asked
    │   ├── LeaseLost                   another run has taken over the output, or may have
    │   ├── BudgetExhausted      3      `budget_usd` would have been passed
    │   └── Interrupted        130      Ctrl-C, SIGTERM or a cancelled flow run
    │       └── StoppedByOrder          `promptmill stop`
    └── CheckpointUnreadable         a stored answer file is damaged or foreign: the work is done again

A row that the provider refuses is a `Failure` record (records.py) and no exception: it never takes its chunk along.
An error's text goes into logs, states and what Prefect stores, so no message keeps the secrets of a URL that it quotes.
"""

from typing import Self

from promptmill.public_url import public_text


class PromptmillError(Exception):
    """Something a user can understand and act upon; the message says what happened, what was allowed, what to do."""

    exit_code = 1

    def __init__(self, *parts: object) -> None:
        super().__init__(*(public_text(part) if isinstance(part, str) else part for part in parts))


class SetupError(PromptmillError):
    """The job or its environment is wrong; nothing was sent."""

    exit_code = 2


class JobError(SetupError):
    """The job file, one of its templates, its schema or its price is wrong."""


class DatasetError(SetupError):
    """The input can't be read, or its rows aren't what the job says."""


class OutputError(SetupError):
    """The output can't be written, or holds the output of another job."""


class OutputInUse(OutputError):
    """Another run works on the output, and this one was told not to wait for it."""


class CredentialsError(SetupError):
    """Credentials are missing or unusable."""


class NoKeyFound(CredentialsError):
    """Neither the environment nor the job names a key."""


class ProviderUnreachable(SetupError):
    """Nobody answers at the provider's address."""


class RunStopped(PromptmillError):
    """The run ended before its last row; all that was paid for is kept, and the same command goes on from there."""

    state = "failed"
    manifest: object | None = None  # how far the run came (output.manifest.Manifest), where somebody has counted

    def add(self, sentence: str) -> None:
        """Add a sentence to the message."""
        self.args = (f"{self} {public_text(sentence)}",)


class ProviderRefused(RunStopped):
    """The provider will answer no request of this run: bad key, no quota, unknown model, a wait of hours."""


class TooManyFailures(RunStopped):
    """More rows failed than `max_failure_ratio` allows; the message ends with the way on."""

    way_on = ""
    option = ""  # what the same command needs beside its own words to ask the failed rows again

    @classmethod
    def with_way_on(cls, what: str, *, is_passing: bool) -> Self:
        """`what` happened; where the causes may pass by themselves, the next run asks these rows again unasked."""
        option = "" if is_passing else "--retry-failed"
        way_on = f"Fix the cause and run with {option}"
        if is_passing:
            way_on = "Run the same command again once the cause is over: it asks these rows again"
        way_on += ", or raise max_failure_ratio: what was answered is kept."
        error = cls(f"{what} {way_on}")
        error.way_on, error.option = way_on, option
        return error


class StorageFailed(RunStopped):
    """A checkpoint or a part could not be written."""


class InputChanged(RunStopped):
    """The input was changed while the run read it."""


class InputWrong(RunStopped):
    """Rows that were planned while the run asked aren't what the job says."""

    exit_code = 2


class LeaseLost(RunStopped):
    """Another run has taken over the output, or may have: this one was silent for too long."""


class BudgetExhausted(RunStopped):
    """The next request could have passed `budget_usd`."""

    exit_code = 3
    state = "budget_exhausted"


class Interrupted(RunStopped):
    """Somebody stopped the run: Ctrl-C, SIGTERM or a cancelled flow run."""

    exit_code = 130
    state = "cancelled"
    MESSAGE = "The run was interrupted. All that was answered is kept; run the same command again to go on."

    def __init__(self) -> None:
        super().__init__(self.MESSAGE)


class StoppedByOrder(Interrupted):
    """Somebody told the run to stop (`promptmill stop`)."""

    def __init__(self, message: str) -> None:
        RunStopped.__init__(self, message)


class CheckpointUnreadable(PromptmillError):
    """A stored answer file is missing, damaged or not ours; its work is done again."""
