"""Runs a whole Promptmill on this machine: server, bootstrap, deployments and a worker; Ctrl-C ends all of them.

`python deployments/serve.py` uses the server that PREFECT_API_URL names, and starts one if it names none; `--worker` starts
a worker and nothing else. When it ends, the worker's runs keep the answers on their way (tasks/server/parts.py).
"""

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from promptmill.web_address import SETTING as WEB_URLS
from tasks.server.parts import POOL_SETTING, QUERY_SECONDS, ending_parts, start, start_worker

ROOT = Path(__file__).parents[1]
ALLOWED_URLS = "PROMPTMILL_ALLOWED_URLS"  # the places that runs may use on this machine (promptmill/allowed_urls.py)
PORT = os.environ.get("PROMPTMILL_SERVER_PORT", "4200")
START_SECONDS = 120.0


def environment(only_worker: bool = False) -> dict[str, str]:
    """The environment of all parts. A worker for a team may read the examples only, unless its operator lists more."""
    own = ROOT / "examples" if only_worker else ROOT
    listed = os.environ.get(ALLOWED_URLS)
    return {
        "PROMPTMILL_WORK_POOL": "promptmill",
        "PROMPTMILL_HOME": str(ROOT),
        "PREFECT_API_URL": f"http://127.0.0.1:{PORT}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": QUERY_SECONDS,
        # If a server forgets its leases when it restarts, every run ends within four minutes.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "DO_NOT_TRACK": "1",
        **{name: value for name, value in os.environ.items() if value},
        ALLOWED_URLS: f"{listed},{own}" if listed else str(own),
    }


def free_port(wanted: int) -> int:
    """The wanted port of this machine, or any other port if that one is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("no port of this machine is free. End something that listens on one.")


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


def main() -> None:
    """Start everything, or only a worker, and stay until somebody ends it."""
    parser = argparse.ArgumentParser(description="A whole Promptmill on this machine.")
    parser.add_argument(
        "--worker", action="store_true", help="only a worker, for the server that PREFECT_API_URL names"
    )
    only_worker = parser.parse_args().worker
    parts = list[subprocess.Popen[bytes]]()
    with ending_parts(parts):
        serve(environment(only_worker), parts, only_worker)


def serve_reports(settings: dict[str, str]) -> list[subprocess.Popen[bytes]]:
    """Start the report server, unless the settings say where reports are served."""
    if WEB_URLS in settings:
        return []
    port = free_port(int(PORT) + 1)
    settings[WEB_URLS] = f"/=http://127.0.0.1:{port}/"
    return [start("deployments/report_server.py", str(port), settings=settings, folder=ROOT)]


def serve(settings: dict[str, str], parts: list[subprocess.Popen[bytes]], only_worker: bool) -> None:
    """Start the parts, and stay until the worker ends."""
    api_url, pool = settings["PREFECT_API_URL"], settings["PROMPTMILL_WORK_POOL"]
    server: subprocess.Popen[bytes] | None = None
    if "PREFECT_API_URL" not in os.environ and not only_worker:
        server = start("deployments/local_server.py", "--port", PORT, settings=settings, folder=ROOT, quiet=True)
        parts.append(server)
        parts.extend(serve_reports(settings))
    wait_for(server, api_url)
    if not only_worker:
        provider = ["--provider", "openai"] if settings.get("OPENAI_API_KEY") else []
        run("deployments/bootstrap.py", *provider, settings=settings)
        run("-m", "prefect", "--no-prompt", "deploy", "--all", settings={**settings, POOL_SETTING: pool})
    parts.append(start_worker(pool, settings, ROOT))
    print(f"\nPromptmill is ready: {api_url.removesuffix('/api')} (Ctrl-C ends it)\n", flush=True)
    parts[-1].wait()


if __name__ == "__main__":
    main()
