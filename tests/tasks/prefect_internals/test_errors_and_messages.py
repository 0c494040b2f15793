"""Errors, messages and numbers of Prefect that we compare with: still the ones that Prefect produces."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import prefect
import pytest
from prefect import flow_engine
from prefect.client.orchestration import get_client
from prefect.exceptions import Abort, TerminationSignal
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import PickleSerializer
from prefect.server.schemas import states
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.settings.models.server.concurrency import ServerConcurrencySettings
from prefect.states import exception_to_failed_state
from prefect.types._datetime import now

from promptmill.errors import RunStopped
from tasks.prefect_internals.heartbeats import SHORTEST_SECONDS
from tasks.prefect_internals.lease_storage import IN_MEMORY, lease_storage_of
from tasks.prefect_internals.single_call import calling_once
from tasks.prefect_internals.state_messages import NEVER_RESUMED
from tasks.prefect_internals.stop_signals import is_stop_signal
from tasks.prefect_internals.unwritten_errors import tells_of_unwritten_error
from tasks.server.checkpoint_storage import SERIALIZER
from tests.support.failing_api import failing_api


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(TerminationSignal(15), True, id="sigterm"),
        pytest.param(Abort("cancelled"), True, id="cancelled-flow-run"),
        pytest.param(RuntimeError(), False, id="anything-else"),
    ],
)
def test_prefects_signals_are_told_from_errors(error: BaseException, expected: bool) -> None:
    assert is_stop_signal(error) is expected


def test_the_shortest_interval_of_heartbeats_is_prefects() -> None:
    assert SHORTEST_SECONDS == flow_engine.MINIMUM_HEARTBEAT_INTERVAL


def test_a_server_that_nobody_configured_keeps_its_leases_in_memory_and_its_settings_say_so() -> None:
    settings = {"server": {"concurrency": ServerConcurrencySettings().model_dump(mode="json")}}

    assert lease_storage_of(settings) == IN_MEMORY


@pytest.mark.parametrize(
    "settings", [None, [], {}, {"server": None}, {"server": {"concurrency": {"lease_storage": 1}}}]
)
def test_settings_of_another_shape_name_no_lease_storage(settings: Any) -> None:
    assert lease_storage_of(settings) is None


def test_the_server_writes_one_of_our_messages_when_nobody_answered_in_time() -> None:
    """Its text is read, because an import of any service takes half a second in each test process that collects this."""
    source = Path(prefect.__file__).with_name("server") / "services/pause_expirations.py"

    assert f'states.Failed(message="{NEVER_RESUMED[0]}")' in source.read_text()


async def test_the_server_writes_one_of_our_messages_when_somebody_answers_too_late() -> None:
    """The orchestration rule that rejects the answer, as the endpoint `resume` calls it."""
    from prefect.server import models  # the policy alone can't be imported
    from prefect.server.orchestration.core_policy import HandleResumingPausedFlows

    assert models
    initial = states.Suspended(pause_expiration_time=cast(Any, now("UTC")).subtract(minutes=1))
    resuming = states.Scheduled(name="Resuming")
    context: Any = SimpleNamespace(run=SimpleNamespace(deployment_id=uuid4()))
    rule, rejected = (
        HandleResumingPausedFlows(context, states.StateType.PAUSED, states.StateType.SCHEDULED),
        list[Any](),
    )

    async def reject(state: Any, reason: str) -> None:
        rejected.append(state)

    rule.reject_transition = reject  # pyright: ignore
    await rule.before_transition(initial, resuming, context)

    assert [state.message for state in rejected] == [NEVER_RESUMED[1]]


@pytest.mark.parametrize(
    ("serializer", "expected"),
    [
        pytest.param(SERIALIZER, True, id="an-error-is-no-json"),
        pytest.param(PickleSerializer(), False, id="the-storage-fails"),
    ],
)
async def test_prefect_warns_of_an_unwritten_error_with_the_argument_that_we_look_for(
    serializer: Any, expected: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = ResultStore(result_storage=LocalFileSystem(basepath=str(tmp_path / "file")), serializer=serializer)
    with caplog.at_level(logging.WARNING):
        await exception_to_failed_state(RunStopped("budget"), result_store=store, write_result=True)

    told = [record for record in caplog.records if "Failed to write result" in record.getMessage()]
    assert [tells_of_unwritten_error(record) for record in told] == [expected]


async def test_prefects_client_tries_a_call_once_while_we_say_so() -> None:
    with failing_api(503) as api, calling_once():
        async with get_client() as client:
            with pytest.raises(Exception, match="503"):
                await client.read_flow_run(uuid4())

    assert len(api.paths) == 1


def test_settings_for_a_single_try_are_built_once_and_follow_a_changed_address() -> None:
    with calling_once() as first:
        pass
    with calling_once() as second:
        pass
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), calling_once() as elsewhere:
        assert PREFECT_API_URL.value() == "http://127.0.0.1:9/api"

    assert second is first
    assert first.client.max_retries == elsewhere.client.max_retries == 0
