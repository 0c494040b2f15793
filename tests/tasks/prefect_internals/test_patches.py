"""Calls into Prefect that replace or use parts without documentation: what they need is still there."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow
from prefect.events import Event, Resource
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from prefect.server.database import configurations
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema

from tasks.prefect_internals import event_queue, sqlite_transactions
from tasks.prefect_internals.changes import warn_of_change
from tasks.prefect_internals.deployment_form import as_form
from tasks.prefect_internals.event_queue import send_queued_events
from tasks.prefect_internals.sqlite_transactions import lock_at_begin


@pytest.fixture(autouse=True)
def warnings_are_new() -> None:
    """Each test may see a warning that is written once per process."""
    warn_of_change.cache_clear()


class Gated(AssertingEventsClient):
    """Sends events once the gate is open."""

    gate = threading.Event()

    async def emit(self, event: Event) -> Any:
        while not self.gate.is_set():
            await asyncio.sleep(0.01)
        return await super().emit(event)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Lets the events of this process go nowhere, once it is set."""
    Gated.gate = threading.Event()
    AssertingEventsClient.reset()
    EventsWorker.set_client_override(Gated)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        worker = EventsWorker.instance()
        for number in range(4):
            worker.send(Event(event=f"test.{number}", resource=Resource({"prefect.resource.id": "test"})))
        yield Gated.gate
        Gated.gate.set()
        worker.drain()
    EventsWorker.set_client_override(None)


def sent() -> list[str]:
    """The events that were sent."""
    return [event.event for client in AssertingEventsClient.all for event in getattr(client, "events", [])]


async def test_queued_events_are_sent_when_we_go_on(gate: threading.Event) -> None:
    waiting = asyncio.create_task(send_queued_events(30))
    await asyncio.sleep(0)
    assert sent() == []
    gate.set()
    await waiting

    assert sent() == [f"test.{number}" for number in range(4)]


def test_a_server_that_takes_no_events_holds_nothing_up(gate: threading.Event) -> None:
    """Not even the end of the event loop, which waits for threads of its own."""
    asyncio.run(send_queued_events(0.01))

    assert sent() == []


async def test_without_prefects_queue_we_go_on_and_say_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(event_queue, "worker", SimpleNamespace())
    await send_queued_events(30)

    assert "EventsWorker" in caplog.text


async def test_a_transaction_of_sqlite_takes_the_lock_when_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = AioSqliteConfiguration.begin_transaction
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", theirs)  # restored after the test
    modes: list[str | None] = []

    class Session:
        def begin(self) -> "Session":
            return self

        async def __aenter__(self) -> None:
            modes.append(SQLITE_BEGIN_MODE.get())

        async def __aexit__(self, *_: object) -> None:
            """Nothing."""

    async def begin() -> None:
        async with AioSqliteConfiguration("sqlite+aiosqlite://").begin_transaction(Session()):  # type: ignore[arg-type]
            pass

    await begin()
    lock_at_begin()
    await begin()

    assert modes == ["DEFERRED", "IMMEDIATE"]
    assert "SQLITE_BEGIN_MODE" in inspect.getsource(configurations.AioSqliteConfiguration.begin_sqlite_stmt)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="renamed"),
        pytest.param({"begin_transaction": lambda self, session: None}, id="other-parameters"),
    ],
)
def test_a_server_whose_transactions_begin_otherwise_is_left_alone_and_says_so(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    configuration = type("AioSqliteConfiguration", (), changed)
    monkeypatch.setattr(sqlite_transactions, "AioSqliteConfiguration", configuration)
    lock_at_begin()

    assert getattr(configuration, "begin_transaction", None) is changed.get("begin_transaction")
    assert "503" in caplog.text


def test_a_deployments_form_is_made_of_the_signature_shown_and_calls_go_by_the_functions_own() -> None:
    @as_form
    @flow
    def shaped(job: dict[str, int] | None = None, wait: bool = False, job_url: str | None = None) -> None:
        """A flow with parameters that may stay empty."""

    fields = parameter_schema(shaped).model_dump(exclude_unset=True)["properties"]

    assert sorted(fields, key=lambda name: fields[name]["position"]) == ["wait", "job_url", "job"]
    assert fields["job_url"]["type"] == "string"
    assert "default" not in fields["job_url"]
    assert shaped.validate_parameters({}) == {"job": None, "wait": False, "job_url": None}


def test_a_flow_that_keeps_no_other_signature_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn:
        """Always shows the signature of its function."""

        def __call__(self, job: int | None = None) -> None:
            """Nothing."""

        @property
        def __signature__(self) -> inspect.Signature:
            return inspect.signature(type(self).__call__)

        @__signature__.setter
        def __signature__(self, value: inspect.Signature) -> None:
            """Ignored."""

    as_form(Stubborn())

    assert "harder to fill in" in caplog.text
