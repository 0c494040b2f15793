"""A run is one of two things: it has rows to answer, and knows its plan, or nothing left to do, and knows its manifest.

Both are values: a step that changes a run returns the run that follows from it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from promptmill.checkpoints.output_lease import OutputLease
from promptmill.output.manifest import Manifest, manifest_values
from promptmill.planning.kept import Again
from promptmill.planning.opened_job import Opened
from promptmill.planning.preflight import Preflight
from promptmill.planning.prepared_job import Prepared
from promptmill.provider.transport import Credentials
from promptmill.runs.share import Share
from promptmill.steering.order_files import SteeredRun


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run with nothing left to do: its output is complete."""

    prepared: Opened  # no file of the input need be opened to find that out
    manifest: Manifest

    def summary(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        return manifest_values(self.manifest)


@dataclass(frozen=True, slots=True)
class PendingRun:
    """A run that has rows to answer, or answers to publish."""

    prepared: Prepared
    credentials: Credentials
    preflight: Preflight
    started_at: datetime
    again: Again | None = None  # the failures of earlier runs that it asks for again
    overwrite: bool = False  # another job's output may be replaced
    flow_run_ids: tuple[str, ...] = ()
    mode: str = "online"  # or "batch"
    share: Share | None = None  # the part that this process answers, where the run is one shard of a split run
    steered: SteeredRun | None = None  # as orders name it; a sample and a mere plan hear none
    lease: OutputLease | None = None  # this run's hold on the output, or a shard's part in it; a mere plan has none

    @property
    def retry_failed(self) -> bool:
        """Whether it asks again for failures of every kind."""
        return self.again is not None and self.again.is_all


Run = FinishedRun | PendingRun
