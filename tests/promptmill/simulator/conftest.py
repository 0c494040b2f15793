"""One simulator for all tests of a process, put back to its defaults before each."""

from collections.abc import Iterator
from dataclasses import asdict

import pytest
from openai import OpenAI

from promptmill.simulator import Simulator, SimulatorOptions
from promptmill.simulator.wire import JsonValue

DEFAULTS: dict[str, JsonValue] = {
    **asdict(SimulatorOptions(batch_seconds=0.05)),
    "models": [*SimulatorOptions().models],
}


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    """A simulator on a free port."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Simulator:
    """The running simulator, with fast batches, empty books and every other option at its default."""
    running_simulator.configure(**DEFAULTS)
    running_simulator.reset()
    return running_simulator


@pytest.fixture
def client(simulator: Simulator) -> Iterator[OpenAI]:
    """The real SDK, without retries of its own."""
    with OpenAI(base_url=simulator.base_url, api_key="sk-test", max_retries=0) as client:
        yield client
