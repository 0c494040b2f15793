"""What the server does by itself with runs: only with ours, and as the code says after a bootstrap of any older version."""

from collections.abc import Callable
from uuid import uuid4

import pytest
import yaml
from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.server.events.schemas import automations as server_side
from prefect.server.events.schemas.events import RelatedResource, Resource

from tasks.server.automations import FLOWS, crashed_runs, dead_runs, unanswered_runs
from tasks.server.checks import DEPLOYMENTS
from tasks.server.resources import automation
from tests.support.paths import ROOT

ALL = [pytest.param(make, id=make.__name__) for make in (dead_runs, crashed_runs, unanswered_runs)]
MESSAGE = "The flow was paused and never resumed."


def related(flow: str, *tags: str) -> list[RelatedResource]:
    """What an event of a flow run says of its flow and its tags, as Prefect's engine and its server write it."""
    found = [
        {
            "prefect.resource.id": f"prefect.flow.{uuid4()}",
            "prefect.resource.role": "flow",
            "prefect.resource.name": flow,
        }
    ]
    found += [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in tags]
    return [RelatedResource(labels) for labels in found]


def concerns(wanted: Automation, others: list[RelatedResource]) -> bool:
    """Whether the server would look at an event of a run with these related resources."""
    trigger = server_side.EventTrigger.model_validate(wanted.trigger.model_dump(mode="json"))
    run = {
        "prefect.resource.id": f"prefect.flow-run.{uuid4()}",
        "prefect.run-count": "1",
        "prefect.state-message": MESSAGE,
    }
    return trigger.covers_resources(Resource(run), others)


@pytest.mark.parametrize("make", ALL)
def test_a_run_of_another_team_is_left_alone(make: Callable[[], Automation]) -> None:
    assert not concerns(make(), [])
    assert not concerns(make(), related("their-flow", "their-tag"))


@pytest.mark.parametrize("make", ALL)
def test_a_deployed_run_of_ours_is_looked_after(make: Callable[[], Automation]) -> None:
    assert concerns(make(), related("online-inference", "nightly", "promptmill"))


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(related("online-inference"), id="started-by-a-person"),
        pytest.param(related("answer-shard", "promptmill-shard"), id="shard"),
    ],
)
def test_a_run_that_no_worker_can_start_again_is_only_marked(others: list[RelatedResource]) -> None:
    assert [concerns(make(), others) for make in (dead_runs, crashed_runs, unanswered_runs)] == [True, False, False]


def test_the_names_and_tags_are_those_of_our_deployments() -> None:
    deployed = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    shards = [deployment["name"] for deployment in deployed if "promptmill" not in deployment["tags"]]

    assert set(FLOWS) == {name.partition("/")[0] for name in DEPLOYMENTS}
    assert shards == ["shard"]


async def test_an_automation_of_an_older_version_is_replaced_and_one_of_this_version_is_kept(prefect: str) -> None:
    older, wanted = dead_runs(), dead_runs()
    older.trigger.match_related = {}  # pyright: ignore[reportAttributeAccessIssue]
    async with get_client() as client:
        await older.acreate()
        is_there_at_first = await automation(client, wanted).is_there()
        await automation(client, wanted).make()
        for make in (crashed_runs, unanswered_runs):
            await automation(client, make()).make()
        kept = [await automation(client, make()).is_there() for make in (dead_runs, crashed_runs, unanswered_runs)]
        found = await client.read_automations_by_name(wanted.name)

    assert not is_there_at_first
    assert kept == [True, True, True]
    assert len(found) == 1
