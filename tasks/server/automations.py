"""Defines automations, by which the server marks, restarts and explains our runs whose process is gone.

A trigger sees events only, and an action doesn't look at a run's state. So each trigger is written such that the event of
any later state of the run satisfies it. How the server buckets events and treats late ones: prefect 3.8.8,
server/events/triggers.py. Each trigger is limited to our runs, since other teams may use the same server: dead runs by the
names of our flows, which a run that a person started has too, and the others by the tag of our deployments.
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

_DEAD_RUNS = "promptmill-dead-runs"
_CRASHED_RUNS = "promptmill-crashed-runs"
_UNANSWERED_RUNS = "promptmill-unanswered-runs"
FLOWS = ("online-inference", "batch-inference", "answer-shard", "advance-batches", "estimate-cost", "steer")
_TAG = (
    "promptmill"  # of the deployments and so of their runs; not of answer-shard, which the run that split starts again
)
_HEARTBEAT_SECONDS = 180  # if heartbeats are switched off here: the machine that carries out runs may still send them
_MISSED_HEARTBEATS = 3
RERUN_SECONDS = 20  # from a crash to the next attempt
_AFTER_A_CRASH = ("AwaitingRetry", "Scheduled", "Running", "Cancelling", "Cancelled", "Failed")
_RUNS = "prefect.flow-run.*"


def silence_seconds() -> int:
    """How long a run may be silent: three heartbeats, as PREFECT_FLOWS_HEARTBEAT_FREQUENCY sets them."""
    given = get_current_settings().flows.heartbeat_frequency
    return _MISSED_HEARTBEATS * max(given or _HEARTBEAT_SECONDS, SHORTEST_SECONDS)


def dead_runs(seconds: int | None = None, runs: str | list[str] = _RUNS) -> Automation:
    """Mark a run Crashed once three of its heartbeats are missing; Prefect by itself would leave it Running.

    A run that is suspended or has ended sends no heartbeats either, but then the event of that state satisfies the trigger.
    """
    seconds = silence_seconds() if seconds is None else seconds
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.*"},
        match=ResourceSpecification({"prefect.resource.id": runs}),
        match_related=ResourceSpecification(
            {"prefect.resource.role": "flow", "prefect.resource.name": [*FLOWS]},
        ),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=seconds),
    )
    action = ChangeFlowRunState(
        state=StateType.CRASHED, name="Crashed", message=f"No heartbeat for {seconds} s.", force=False
    )
    return Automation(name=_DEAD_RUNS, trigger=trigger, actions=[action], enabled=True)


def crashed_runs() -> Automation:
    """Schedule a deployed run that crashed at its first attempt once more; it goes on from its checkpoints.

    The server waits some seconds: a worker reports a crash twice, and the second report would end the new attempt.
    """
    trigger = EventTrigger(
        after={"prefect.flow-run.Crashed"},
        expect={f"prefect.flow-run.{name}" for name in _AFTER_A_CRASH},
        for_each={"prefect.resource.id"},
        match=ResourceSpecification({"prefect.resource.id": [_RUNS], "prefect.run-count": ["1"]}),
        match_related=_DEPLOYED,
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
    return Automation(name=_CRASHED_RUNS, trigger=trigger, actions=[action], enabled=True)


def unanswered_runs() -> Automation:
    """Make a run say that it got no approval in time; Prefect only says that the run was paused."""
    trigger = EventTrigger(
        expect={"prefect.flow-run.Failed"},
        match=ResourceSpecification({"prefect.resource.id": [_RUNS], "prefect.state-message": [*NEVER_RESUMED]}),
        match_related=_DEPLOYED,
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
    return Automation(name=_UNANSWERED_RUNS, trigger=trigger, actions=[action], enabled=True)


_DEPLOYED = ResourceSpecification({"prefect.resource.role": "tag", "prefect.resource.id": [f"prefect.tag.{_TAG}"]})
