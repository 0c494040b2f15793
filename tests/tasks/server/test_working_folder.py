"""Where a deployed run starts, and what `prefect deploy --all` needs to know in a clone."""

import subprocess
import sys
import tomllib
from inspect import cleandoc
from pathlib import Path

import pytest
import yaml
from prefect.utilities.importtools import import_object

from tasks.server import working_folder
from tasks.server.parts import POOL_SETTING
from tasks.server.resources import pool_name
from tasks.server.working_folder import enter_home
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("is_set", "is_written", "chosen"),
    [
        pytest.param(True, True, "set", id="the-workers-environment-decides"),
        pytest.param(False, True, "written", id="then-the-deployment"),
        pytest.param(False, False, None, id="then-the-folder-of-the-code"),
    ],
)
def test_a_run_starts_in_the_folder_that_is_named_nearest_to_it(
    is_set: bool, is_written: bool, chosen: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)  # and back, when the test ends
    for name in ("collect_seldom", "spare_pandas"):  # this process has more than one run
        monkeypatch.setattr(working_folder, name, lambda: None)
    monkeypatch.delenv("PROMPTMILL_HOME", raising=False)
    for name in ("set", "written"):
        (tmp_path / name).mkdir()
    if is_set:
        monkeypatch.setenv("PROMPTMILL_HOME", str(tmp_path / "set"))
    entered = enter_home(str(tmp_path / "written") if is_written else None)
    wanted = ROOT if chosen is None else tmp_path / chosen

    assert entered == {"directory": str(wanted)}
    assert Path.cwd() == wanted


@pytest.mark.parametrize("name", ["prefect.yaml", "examples/chain/prefect.yaml"])
def test_prefect_deploys_in_a_clone_where_no_variable_is_set(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PROMPTMILL_WORK_POOL", raising=False)
    text = (ROOT / name).read_text()
    (step,) = yaml.safe_load(text)["pull"]
    settings = tomllib.loads((ROOT / "prefect.toml").read_text())

    assert "{{ $" not in text  # Prefect leaves a variable that isn't set as it stands
    assert import_object(next(iter(step))) is enter_home
    assert settings == {"deployments": {"default_work_pool_name": pool_name()}}
    assert POOL_SETTING == "PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME"


def test_a_deployed_run_starts_without_pandas():
    code = """
        import gc, sys
        from tasks.server.working_folder import enter_home
        enter_home()
        import promptmill.planning.kept  # makes an array as it is imported, for which pyarrow would import pandas
        assert "pyarrow" in sys.modules
        print("pandas" in sys.modules, gc.get_threshold()[0])
    """
    ran = subprocess.run([sys.executable, "-c", cleandoc(code)], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["False", "50000"]
