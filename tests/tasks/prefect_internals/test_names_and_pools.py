"""Names that Prefect makes up for runs, and the moment at which `prefect deploy` looks for its work pool."""

import inspect
from pathlib import Path

import prefect
import pytest
from prefect.cli.deploy import _core
from prefect.utilities.names import generate_slug

from tasks.prefect_internals.deploy_command import COMMAND, pool_of
from tasks.prefect_internals.made_up_names import BY_THE_UI, is_made_up


def test_each_name_that_the_server_makes_up_is_known_as_such() -> None:
    assert [name for name in (generate_slug(2) for _ in range(2_000)) if not is_made_up(name)] == []


def test_the_ui_makes_up_names_of_the_words_that_we_know() -> None:
    bundles = (Path(prefect.__file__).parent / "server/ui-v2/assets").glob("deployment_*.run-*.js")
    words = ",".join(f"`{word}`" for word in BY_THE_UI)

    assert any(words in bundle.read_text() for bundle in bundles)


def test_prefect_deploy_loads_the_flow_before_it_looks_for_the_pool_and_runs_its_steps_after_it() -> None:
    source = inspect.getsource(_core._run_single_deploy)  # pyright: ignore[reportPrivateUsage]
    order = [source.index(text) for text in ("load_flow_from_entrypoint(", "read_work_pool(", "run_steps(")]

    assert _core.__name__ == COMMAND
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("modules", "words", "expected"),
    [
        pytest.param([COMMAND], ["prefect", "deploy", "--all"], "mill", id="the-command"),
        pytest.param(["prefect.cli"], ["prefect", "worker", "start"], None, id="another-command"),
        pytest.param([COMMAND], ["prefect", "deploy", "--all", "--pool", "k8s"], None, id="another-pool"),
        pytest.param([COMMAND], ["prefect", "deploy", "--pool=k8s"], None, id="another-pool-in-one-word"),
        pytest.param([COMMAND], ["prefect", "deploy", "-p", "k8s"], None, id="another-pool-in-short"),
    ],
)
def test_the_pool_is_that_of_the_settings_where_the_command_takes_it(
    modules: list[str], words: list[str], expected: str | None
) -> None:
    assert pool_of(modules, words, "mill") == expected
