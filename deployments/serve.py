"""A whole Promptmill on this machine: server, bootstrap, deployments and a worker; Ctrl-C ends all that it started.

`python deployments/serve.py` uses the server that PREFECT_API_URL names, and starts one if it names none; `--worker` starts
a worker and nothing else. If you end Prefect's own worker, it kills its runs at once (prefect 3.8.8), and with them the
answers that are paid for and on their way. This script tells the runs first, and they keep those answers.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
ALLOWED_URLS = "PROMPTMILL_ALLOWED_URLS"  # what runs may use on this machine (promptmill/allowed_urls.py)
PORT = os.environ.get("PROMPTMILL_SERVER_PORT", "4200")
START_SECONDS = 120.0
STOP_SECONDS = 20.0
RUN_STOP_SECONDS = 25.0  # a run lets requests on their way finish for ten seconds, then saves and reports


def environment(only_worker: bool = False) -> dict[str, str]:
    """The environment of all parts. A worker for a team may read the examples only, unless its operator lists more."""
    own = ROOT / "examples" if only_worker else ROOT
    listed = os.environ.get(ALLOWED_URLS)
    return {
        "PROMPTMILL_WORK_POOL": "promptmill",
        "PROMPTMILL_HOME": str(ROOT),
        "PREFECT_API_URL": f"http://127.0.0.1:{PORT}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "3",  # between two looks for runs; Prefect's 10 is most of a run's start
        # If a server forgets its leases when it restarts, every run ends within four minutes.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "DO_NOT_TRACK": "1",
        **{name: value for name, value in os.environ.items() if value},
        ALLOWED_URLS: f"{listed},{own}" if listed else str(own),
    }


def start(*words: str, settings: dict[str, str], quiet: bool = False) -> subprocess.Popen[bytes]:
    """Start a part in a process group of its own, so that only we end it on Ctrl-C, and in our order."""
    out = subprocess.DEVNULL if quiet else None
    return subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=settings, start_new_session=True, stdout=out, stderr=out
    )


def stop(part: subprocess.Popen[bytes]) -> None:
    """End a part and everything that it started."""
    if part.poll() is None:
        end_runs(part)
    if part.poll() is None:
        os.killpg(part.pid, signal.SIGTERM)
        try:
            part.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(part.pid, signal.SIGKILL)
            part.wait()


def end_runs(worker: subprocess.Popen[bytes]) -> None:
    """Stop a worker's runs so that they keep their answers. The worker dies first, so that it starts no other run."""
    runs = children_of(worker.pid) if "worker" in worker.args else []  # pyright: ignore
    if not runs:
        return
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    for run in runs:
        signal_group(run, signal.SIGTERM)
    until = time.monotonic() + RUN_STOP_SECONDS
    while time.monotonic() < until and any(signal_group(run, 0) for run in runs):
        time.sleep(0.2)
    for run in runs:
        signal_group(run, signal.SIGKILL)


def children_of(process: int) -> list[int]:
    """The processes that a process started."""
    with contextlib.suppress(OSError):
        found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False)  # noqa: S607
        return [int(line) for line in found.stdout.split()]
    return []


def signal_group(leader: int, number: int) -> bool:
    """Send a signal to a group of processes; returns whether any process is left in it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(leader, os.WNOHANG)  # in a container, orphans become our children, and we reap them
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def wait_for(server: subprocess.Popen[bytes] | None, api_url: str) -> None:
    """Wait until the server answers. Raises: SystemExit when it doesn't."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and (server is None or server.poll() is None):
        try:
            with urllib.request.urlopen(f"{api_url}/health", timeout=2):  # noqa: S310 - PREFECT_API_URL is the user's own
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SystemExit(
        f"no Prefect server answers at {api_url}. Fix PREFECT_API_URL, or unset it and free port {PORT} "
        "(PROMPTMILL_SERVER_PORT) to have one started."
    )


def run(*words: str, settings: dict[str, str]) -> None:
    """Run a step to its end. Raises: SystemExit if it fails."""
    if (code := subprocess.run([sys.executable, *words], cwd=ROOT, env=settings, check=False).returncode) != 0:
        raise SystemExit(f"`{' '.join(words)}` ended with exit code {code}; its output above says why.")


def interrupted(*_: object) -> None:
    """On SIGTERM, end as on Ctrl-C."""
    raise KeyboardInterrupt


def main() -> None:
    """Start everything, or only a worker, and stay until somebody ends it."""
    parser = argparse.ArgumentParser(description="A whole Promptmill on this machine.")
    parser.add_argument(
        "--worker", action="store_true", help="only a worker, for the server that PREFECT_API_URL names"
    )
    only_worker = parser.parse_args().worker
    signal.signal(signal.SIGTERM, interrupted)
    parts = list[subprocess.Popen[bytes]]()
    try:
        serve(environment(only_worker), parts, only_worker)
    except KeyboardInterrupt:
        print("\nstopping…", flush=True)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # else a second Ctrl-C would leave processes behind
            signal.signal(number, signal.SIG_IGN)
        for part in reversed(parts):
            stop(part)


def serve(settings: dict[str, str], parts: list[subprocess.Popen[bytes]], only_worker: bool) -> None:
    """Start the parts, and stay until the worker ends."""
    api_url, pool = settings["PREFECT_API_URL"], settings["PROMPTMILL_WORK_POOL"]
    if "PREFECT_API_URL" not in os.environ and not only_worker:
        parts.append(start("deployments/local_server.py", "--port", PORT, settings=settings, quiet=True))
    wait_for(parts[0] if parts else None, api_url)
    if not only_worker:
        provider = ["--provider", "openai"] if settings.get("OPENAI_API_KEY") else []
        run("deployments/bootstrap.py", *provider, settings=settings)
        run("-m", "prefect", "--no-prompt", "deploy", "--all", settings=settings)
    parts.append(start("-m", "prefect", "worker", "start", "--pool", pool, settings=settings))
    print(f"\nPromptmill is ready: {api_url.removesuffix('/api')} (Ctrl-C ends it)\n", flush=True)
    parts[-1].wait()


if __name__ == "__main__":
    main()
