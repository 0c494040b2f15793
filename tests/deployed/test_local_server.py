"""The server that `make serve` starts, with several who write to it at once, as runs in shards and workers do."""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.prefect_server import prefect_server

WRITERS, SECONDS = 4, 10.0
Call = Callable[[str, Any], Any]


@pytest.fixture
def home(new_home: Callable[[str], Path]) -> Path:
    """Where the server keeps its database, which is empty."""
    return new_home("local-server")


@pytest.fixture
def api_url(home: Path) -> Iterator[str]:
    """The server's API."""
    with prefect_server(home) as url:
        yield url


def caller(api_url: str, answers: Counter[int], slowest: list[float]) -> Call:
    """Who posts to the server, and notes how it was answered."""

    def call(path: str, body: Any) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{api_url}{path}", data, {"Content-Type": "application/json"})
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                answers[answer.status] += 1
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            answers[error.code] += 1
            return None
        finally:
            slowest.append(time.monotonic() - began)

    return call


def make_automation(call: Call) -> None:
    """One that looks at the events of flow runs, as promptmill-dead-runs does."""
    trigger = {
        "type": "event",
        "posture": "Proactive",
        "after": ["prefect.flow-run.heartbeat"],
        "expect": ["prefect.flow-run.*"],
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "within": 540,
    }
    call("/automations/", {"name": "dead", "trigger": trigger, "actions": [{"type": "do-nothing"}]})


def write(call: Call, deployment: str, until: float) -> None:
    """What a worker and its runs write."""
    while time.monotonic() < until:
        call("/work_pools/pool/get_scheduled_flow_runs", {})
        run = call(f"/deployments/{deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}})
        if run is None:
            continue
        resource = {"prefect.resource.id": f"prefect.flow-run.{run['id']}"}
        heartbeat = {
            "id": str(uuid4()),
            "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "event": "prefect.flow-run.heartbeat",
            "resource": resource,
        }
        call("/events", [heartbeat])
        for state in ("PENDING", "RUNNING", "COMPLETED"):
            call(f"/flow_runs/{run['id']}/set_state", {"state": {"type": state}, "force": True})


def test_writers_wait_for_each_other_and_neither_a_request_nor_an_event_is_lost(api_url: str, home: Path):
    answers, slowest = Counter[int](), list[float]()
    call = caller(api_url, answers, slowest)
    call("/work_pools/", {"name": "pool", "type": "process"})
    flow = call("/flows/", {"name": "flow"})["id"]
    values = {"flow_id": flow, "work_pool_name": "pool", "entrypoint": "a:b"}
    deployments = [call("/deployments/", {"name": f"of-{n}", **values})["id"] for n in range(WRITERS)]
    make_automation(call)
    until = time.monotonic() + SECONDS

    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(lambda deployment: write(call, deployment, until), deployments))
    time.sleep(2)  # until the last events had their turn

    assert {code for code in answers if code >= 400} == set()
    assert max(slowest) < 30
    assert not list((home / "prefect" / "dlq").glob("*"))
