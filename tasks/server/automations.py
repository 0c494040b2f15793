"""What the server does by itself with runs of ours that nobody carries out any more: crashed, started again, failed.

A trigger sees events only, and an action looks at no state. So each is written such that the event of any other state of
the run satisfies it. The server's way with buckets and late events: prefect 3.8.8, server/events/triggers.py.
"""

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import get_current_settings

from tasks.prefect_internals.heartbeats import SHORTEST_SECONDS
from tasks.prefect_internals.state_messages import NEVER_RESUMED

DEAD_RUNS = "promptmill-dead-runs"
CRASHED_RUNS = "promptmill-crashed-runs"
UNANSWERED_RUNS = "promptmill-unanswered-runs"
TAG = "promptmill"  # of the deployments, and so of their runs
HEARTBEAT_SECONDS = 180  # where heartbeats are switched off here, though maybe not where runs are
MISSED_HEARTBEATS = 3
RERUN_SECONDS = 20  # from a crash to the next attempt
CRASH_WAS_TAKEN_UP = ("AwaitingRetry", "Scheduled", "Running", "Cancelling", "Cancelled", "Failed")
RUNS = "prefect.flow-run.*"


def silence_seconds() -> int:
    """How long a run may be silent: three heartbeats, as PREFECT_FLOWS_HEARTBEAT_FREQUENCY sets them."""
    given = get_current_settings().flows.heartbeat_frequency
    return MISSED_HEARTBEATS * max(given or HEARTBEAT_SECONDS, SHORTEST_SECONDS)


def dead_runs(seconds: int | None = None, runs: str | list[str] = RUNS) -> Automation:
    """Runs whose process is gone become Crashed once their heartbeats are missed; Prefect alone leaves them Running.

    A run that is suspended, or has ended, sends none either: the event of that state is what was expected.
    """
    seconds = silence_seconds() if seconds is None else seconds
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.*"},
        match=ResourceSpecification({"prefect.resource.id": runs}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=seconds),
    )
    action = ChangeFlowRunState(
        state=StateType.CRASHED, name="Crashed", message=f"No heartbeat for {seconds} s.", force=False
    )
    return Automation(name=DEAD_RUNS, trigger=trigger, actions=[action], enabled=True)


def crashed_runs() -> Automation:
    """A run of ours that crashed at its first attempt is scheduled once more, and goes on from its checkpoints.

    Some seconds later, since a worker reports a crash twice, and the second report would end the new attempt.
    """
    trigger = EventTrigger(
        after={"prefect.flow-run.Crashed"},
        expect={f"prefect.flow-run.{name}" for name in CRASH_WAS_TAKEN_UP},
        for_each={"prefect.resource.id"},
        match=ResourceSpecification({"prefect.resource.id": [RUNS], "prefect.run-count": ["1"]}),
        match_related=_OURS,
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=RERUN_SECONDS),
    )
    action = ChangeFlowRunState(
        state=StateType.SCHEDULED,
        name="AwaitingRetry",
        message="It crashed; it goes on from its checkpoints, once.",
        force=True,
    )
    return Automation(name=CRASHED_RUNS, trigger=trigger, actions=[action], enabled=True)


def unanswered_runs() -> Automation:
    """A run that asked and got no answer in time says so; of itself the server only says that it was paused."""
    trigger = EventTrigger(
        expect={"prefect.flow-run.Failed"},
        match=ResourceSpecification({"prefect.resource.id": [RUNS], "prefect.state-message": [*NEVER_RESUMED]}),
        match_related=_OURS,
        posture=Posture.Reactive,
        threshold=1,
    )
    action = ChangeFlowRunState(
        state=StateType.FAILED,
        name="Failed",
        message="Nobody approved the run in time (approve_within_seconds), which counts as a no. Nothing was sent. "
        "Start it again to be asked again.",
        force=True,
    )
    return Automation(name=UNANSWERED_RUNS, trigger=trigger, actions=[action], enabled=True)


_OURS = ResourceSpecification({"prefect.resource.id": [f"prefect.tag.{TAG}"]})
