"""Imports run flows → tasks → promptmill and never back, and no file of ours reads what may hold code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "promptmill": {"prefect", "tasks", "flows"},
    "promptmill/simulator": {"prefect", "tasks", "flows", "promptmill"},
    "tasks": {"flows"},
}


def imported(path: Path) -> set[str]:
    """The modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_room_imports_only_what_lies_below_it(folder: str) -> None:
    pattern = "**/*.py" if folder != "promptmill" else "*.py"
    for path in (ROOT / folder).glob(pattern):
        for module in imported(path):
            if module.split(".")[0] in FORBIDDEN[folder]:
                assert module.startswith("promptmill.simulator"), f"{path.name} imports {module}"


def test_a_flow_imports_no_other_flow() -> None:
    for path in (ROOT / "flows").glob("*.py"):
        if path.name not in {"__main__.py", "local.py", "batches.py"}:
            assert not {module for module in imported(path) if module.startswith("flows")}, path.name


def test_public_names_are_importable() -> None:
    import promptmill

    for name in promptmill.__all__:
        assert getattr(promptmill, name) is not None


OURS = sorted(
    path for folder in ("promptmill", "tasks", "flows", "deployments") for path in (ROOT / folder).rglob("*.py")
)
OBJECT_READERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
CODE_RUNNERS = {"eval", "exec", "read_pickle", "unsafe_load", "full_load", "yaml.load", "yaml.load_all", "np.load"}


def calls(path: Path) -> list[ast.Call]:
    """All calls in a file."""
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def test_nothing_reads_what_holds_code() -> None:
    for path in OURS:
        called = {ast.unparse(call.func) for call in calls(path)}

        assert not imported(path) & OBJECT_READERS, path
        assert not (called | {name.rsplit(".", 1)[-1] for name in called}) & CODE_RUNNERS, path


def test_prefect_keeps_no_result_but_that_of_a_chunk() -> None:
    """Prefect reads a result by the serializer that it names; only a chunk's storage looks at it before."""
    kept: list[str] = []
    for path in OURS:
        for call in calls(path):
            if ast.unparse(call.func) in {"task", "flow", "TaskOptions"}:
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                if given.get("persist_result") != "False":
                    kept.append(given["name"])

    assert kept == ["'complete-chunk'"]
