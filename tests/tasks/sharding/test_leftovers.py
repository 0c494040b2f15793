"""Shards that a dead run may have left at work, where no server can be asked; with one: tests/test_sharded_runs.py."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from promptmill.errors import SetupError
from promptmill.provider.transport import Credentials
from promptmill.runs.run import Run
from promptmill.sharding import leftovers as strays
from promptmill.sharding.folder import ShardFolder, folders
from promptmill.sharding.split import split_run
from tasks.sharding.leftovers import end_strays
from tests.support.jobs import MakeJob, plan


@pytest.fixture
def run(make_job: MakeJob, credentials: Credentials) -> Run:
    """A run over an output that another run has split before, which said no end of its shards."""
    planned = plan(make_job(40, shards=2), credentials)
    shards = split_run(planned)
    assert shards is not None
    ShardFolder(planned.prepared.store, "dead").write_plan(shards)
    return planned


async def test_without_a_server_to_ask_nothing_is_sent_beside_them(run: Run):
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(SetupError, match=r"PREFECT_API_URL isn't set here.*_checkpoints/shards/dead"),
    ):
        await end_strays(run)


async def test_those_on_a_cluster_are_told_by_the_pulse_that_stops(run: Run, monkeypatch: pytest.MonkeyPatch):
    folder = ShardFolder(run.prepared.store, "dead")
    folder.beat(1)
    monkeypatch.setattr(strays, "_PULSED_SECONDS", 0.1)
    monkeypatch.setattr(strays, "PULSE_SECONDS", 0.1)
    with temporary_settings({PREFECT_API_URL: None}):
        await end_strays(run)

    assert folder.pulse() is None
    assert folders(run.prepared.store) == []


async def test_the_shards_of_the_run_itself_are_left_at_work(run: Run):
    folder = ShardFolder(run.prepared.store, "dead")
    with temporary_settings({PREFECT_API_URL: None}):
        await end_strays(run, kept=folder.plan_url)

    assert folder.read_plan() is not None
