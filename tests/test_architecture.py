"""Imports run flows → tasks → promptmill and never back."""

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
