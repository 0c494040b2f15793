"""What `pip install promptmill` installs: one package, which works beside a project with `flows` and `tasks` of its own."""

import ast
import asyncio
import json
import os
import re
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from deployments.wheel_hook import MOVED, renamed
from flows.command.deploy import DeployOptions, deploy_all, deployed_file
from promptmill.errors import SetupError
from promptmill.simulator import Simulator
from tests.support.blocks import blocks_of, commands_of
from tests.support.paths import ROOT
from tests.support.prefect_server import prefect_server
from tests.support.s3 import free_ports
from tests.support.serving import client_of, start_runs_without_a_supervisor
from tests.support.wheel import Installed, install_wheel

pytestmark = pytest.mark.xdist_group("wheel")
OWN_NAME = re.compile(rf"({'|'.join(MOVED)})(\.\w+)+")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment of its own."""
    found = install_wheel(tmp_path_factory.mktemp("wheel"))
    (found.project / "tickets.csv").write_text("id,text\n" + "".join(f"{n},ticket {n}\n" for n in range(30)))
    job = {
        "name": "tickets",
        "input": {"url": "tickets.csv", "id_column": "id"},
        "request": {"model": "gpt-6-luna", "user": "Label: {{ text }}"},
        "output": {"url": "answers"},
    }
    (found.project / "job.yaml").write_text(yaml.safe_dump(job))
    return found


def names(installed: Installed) -> list[str]:
    return zipfile.ZipFile(installed.wheel).namelist()


def test_the_wheel_has_one_package_with_every_file_of_the_repository(installed: Installed):
    found = {name for name in names(installed) if ".dist-info/" not in name}
    packages = {
        "promptmill": {path.relative_to(ROOT) for path in (ROOT / "promptmill").rglob("*") if path.suffix != ".pyc"},
        **{top: {Path("promptmill", path.relative_to(ROOT)) for path in (ROOT / top).rglob("*.py")} for top in MOVED},
    }
    wanted = {str(path) for paths in packages.values() for path in paths if path.suffix}

    assert found == wanted | {"promptmill/py.typed", "promptmill/prefect.yaml"}


def test_no_file_of_the_wheel_names_a_package_that_it_does_not_bring(installed: Installed):
    wheel = zipfile.ZipFile(installed.wheel)
    wrong: list[str] = []
    for name in (name for name in names(installed) if name.endswith(".py")):
        for node in ast.walk(ast.parse(wheel.read(name))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            modules += [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
            wrong += [f"{name}: {module}" for module in modules if module in MOVED or OWN_NAME.fullmatch(module)]

    assert wrong == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("from tasks.a.b import c\n", "from promptmill.tasks.a.b import c\n", id="module"),
        pytest.param("from flows import (\n    a,\n)\n", "from promptmill.flows import (\n    a,\n)\n", id="package"),
        pytest.param("def f():\n    from tasks import a", "def f():\n    from promptmill.tasks import a", id="inside"),
        pytest.param('"""\nfrom tasks.a import b\n"""\n', '"""\nfrom tasks.a import b\n"""\n', id="text"),
        pytest.param(
            "x = '\u2028'\nfrom tasks import a", "x = '\u2028'\nfrom promptmill.tasks import a", id="separator"
        ),
        pytest.param("from tasksy import a\nimport flowsy\n", "from tasksy import a\nimport flowsy\n", id="other"),
        pytest.param("from .tasks import a\n", "from .tasks import a\n", id="relative"),
    ],
)
def test_the_build_renames_imports_and_nothing_else(before: str, after: str):
    assert renamed(before, "file.py") == after


def test_the_build_refuses_an_import_that_it_cannot_rename():
    with pytest.raises(ValueError, match=r"file\.py:2 has `import tasks\.run`"):
        renamed("\nimport tasks.run\n", "file.py")


def test_the_command_works_beside_a_projects_own_flows_and_tasks(installed: Installed, simulator: Simulator):
    provider = {"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": simulator.base_url}
    commands = (
        ["python", "-m", "promptmill", "check", "job.yaml"],
        ["promptmill", "sample", "-n", "3", "job.yaml"],
        ["promptmill", "run", "--json", "job.yaml"],
    )
    ended = [installed.run(*words, **provider) for words in commands]

    assert [one.stderr for one in ended if one.returncode != 0] == []
    assert json.loads(ended[-1].stdout.splitlines()[-1])["succeeded"] == 30


def test_a_newcomer_gets_from_the_wheel_to_a_report_by_the_lines_of_the_readme(installed: Installed):
    text = next(block.text for block in blocks_of(ROOT / "README.md") if "simulate &" in block.text)
    (port,) = free_ports(1)  # somebody may use 8080
    lines = text.replace("promptmill simulate", f"promptmill simulate --port {port}").replace(":8080", f":{port}")
    folder = installed.project / "newcomer"
    folder.mkdir()
    words = ["bash", "-ec", f"trap 'kill $(jobs -p)' EXIT\n{lines}"]
    environment = installed.environment(PATH=f"{installed.bin}:{os.environ['PATH']}")
    ended = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode == 0, ended.stderr
    assert len(commands_of(text)) == 5
    assert (folder / "reviews-answers/_report.html").exists()


def test_the_package_works_in_a_process_that_uses_the_projects_own_flows(installed: Installed, simulator: Simulator):
    for name in MOVED:
        (installed.project / name / "__init__.py").write_text("HERE = True\n")
    program = """
import flows, tasks, promptmill.flows.online_inference
import pandas, promptmill
found = promptmill.run(pandas.DataFrame({"id": [1, 2], "text": ["a", "b"]}), "job.yaml")
print(len(found.answers), flows.HERE, tasks.HERE)
"""
    (installed.project / "notebook.py").write_text(program)
    provider = {"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": simulator.base_url}
    ended = installed.run("python", "notebook.py", **provider)

    assert ended.stdout.splitlines()[-1:] == ["2 True True"], ended.stderr


@pytest.mark.served
@pytest.mark.slow
def test_deployed_runs_need_nothing_but_the_wheel(
    installed: Installed, simulator: Simulator, new_home: Callable[[str], Path]
):
    before = contents(installed.project)
    environment = {"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": simulator.base_url, "PROMPTMILL_ALLOWED_URLS": "/"}
    with prefect_server(new_home("wheel")) as api_url:
        environment["PREFECT_API_URL"] = api_url
        deployed = installed.run("promptmill", "deploy", "--job", "job.yaml", **environment)
        after = contents(installed.project)
        start_runs_without_a_supervisor(api_url, str(installed.bin / "python"))
        asyncio.run(start_nightly(api_url))
        worker = installed.start("promptmill", "worker", **environment)
        told = until_there(installed.project / "deployed/_manifest.json", worker)

    assert deployed.returncode == 0, deployed.stderr
    assert after == before
    assert worker.returncode == 0, told
    assert json.loads((installed.project / "deployed/_manifest.json").read_text())["succeeded"] == 30


def until_there(path: Path, worker: "subprocess.Popen[str]") -> str:
    """End a worker once a file is there; returns what it said."""
    until = time.monotonic() + 120
    while not path.exists() and worker.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    worker.terminate()
    return "".join(worker.communicate(timeout=60))


async def start_nightly(api_url: str) -> None:
    """Start the job's nightly run now, and no step of batches, which the worker would take too."""
    async with client_of(api_url) as client:
        steps = await client.read_deployment_by_name("advance-batches/advance")
        await client.pause_deployment(steps.id)
        nightly = await client.read_deployment_by_name("online-inference/nightly")
        changes = {"overrides": {"output.url": "deployed"}}
        await client.create_flow_run_from_deployment(nightly.id, parameters=changes)


@pytest.mark.parametrize(
    ("job_url", "parameters", "enabled"),
    [
        pytest.param("s3://lake/job.yaml", {"job_url": "s3://lake/job.yaml"}, True, id="with-a-job"),
        pytest.param(None, {}, False, id="without"),
    ],
)
def test_a_deployment_of_one_job_names_the_users_job_or_starts_by_nothing(
    job_url: str | None, parameters: dict[str, str], enabled: bool
):
    found = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    deployed = deployed_file(found, "promptmill.flows", job_url)["deployments"]
    of_one_job = [values for values in deployed if values["name"] == "on-dataset"]

    assert {values["entrypoint"] for values in of_one_job} == {"promptmill.flows.online_inference.online_inference"}
    assert [values["parameters"] for values in of_one_job] == [parameters]
    assert any(trigger["enabled"] for values in of_one_job for trigger in values["triggers"]) is enabled
    assert len(deployed) == len(found["deployments"])


def test_deploy_without_a_server_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flows.command.deploy.server_address", lambda: None)

    with pytest.raises(SetupError, match="PREFECT_API_URL names none"):
        deploy_all(DeployOptions())


def contents(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts}
