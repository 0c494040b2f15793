"""advance-batches looks often while a job has batches in flight, and seldom while none has."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import IntervalSchedule

from promptmill.batch.registry import register, unregister
from promptmill.job.spec import Job
from tasks.batch.looking import names_of, set_pace
from tests.support.jobs import MakeJob

pytestmark = pytest.mark.xdist_group("batch-flow")
SLUGS = ("while-batches-are-in-flight", "hourly")


async def deployed(client: PrefectClient) -> UUID:
    """A deployment of the name, with the schedules of prefect.yaml, both switched on."""
    flow_id = await client.create_flow_from_name("advance-batches")
    schedules = [
        DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(hours=1)), active=True, slug=slug)
        for slug in SLUGS
    ]
    return await client.create_deployment(flow_id=flow_id, name="advance", schedules=schedules)


async def active(client: PrefectClient, deployment: UUID) -> set[str | None]:
    """The schedules that are switched on."""
    found = await client.read_deployment_schedules(deployment)
    return {schedule.slug for schedule in found if schedule.active}


async def test_the_frequent_schedule_is_on_only_while_the_registry_has_a_job(
    prefect: str, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_STATE_URL", str(tmp_path / "state"))
    async with get_client() as client:
        deployment = await deployed(client)
        try:
            await set_pace(client)
            without_work = await active(client, deployment)
            entry = register(make_job(3), retry_failed=False, flow_run_ids=())
            await set_pace(client)
            with_work = await active(client, deployment)
            await set_pace(client)
            still_with_work = await active(client, deployment)
            unregister(entry)
            await set_pace(client)
            over = await active(client, deployment)
        finally:
            await client.delete_deployment(deployment)

    assert (without_work, with_work) == ({"hourly"}, {*SLUGS})
    assert (still_with_work, over) == (with_work, without_work)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        pytest.param([], "nothing in flight", id="none"),
        pytest.param(["a", "b"], "a, b", id="few"),
        pytest.param(["a", "b", "c", "d", "e"], "a, b, c and 2 more", id="many"),
    ],
)
def test_a_look_is_named_after_its_jobs(jobs: list[str], expected: str, make_job: MakeJob) -> None:
    job: Job = make_job(1)

    assert names_of([job.model_copy(update={"name": name}) for name in jobs]) == expected
