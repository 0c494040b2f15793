"""The simulator in the foreground, as a process of its own."""

import signal
import subprocess
import sys

import pytest
from openai import OpenAI

from promptmill.simulator import Simulator
from promptmill.simulator.__main__ import main


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_prints_its_address_and_stops_cleanly(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "promptmill.simulator", "--port", "0", "--option", 'models=["m"]']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        with OpenAI(base_url=address, api_key="sk-test", max_retries=0) as client:
            models = [model.id for model in client.models.list()]
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)

    assert (models, process.returncode, errors) == (["m"], 0, "")


def test_command_refuses_unknown_options() -> None:
    command = [sys.executable, "-m", "promptmill.simulator", "--option", "speed=9"]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    assert (process.returncode, "unknown options: speed" in process.stderr) == (2, True)


def test_a_port_in_use_is_told_in_one_sentence(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = simulator.base_url.split(":")[2].split("/")[0]
    monkeypatch.setattr(sys, "argv", ["simulate", "--port", port])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert f"can't listen at 127.0.0.1:{port}" in capsys.readouterr().err
