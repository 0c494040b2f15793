"""Puts `flows` and `tasks` into the wheel as `promptmill.flows` and `promptmill.tasks`, with their imports renamed.

In site-packages those two names would belong to any project's own folders (docs/decisions/0013). An editable install, such as
`make install` makes, keeps the names of the repository. Hatchling runs this file by itself (pyproject.toml), so it imports
nothing of ours.
"""

import ast
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MOVED = ("flows", "tasks")  # folders at the repository's top
HOME = "promptmill"  # the package that they become part of
WAY_IN = f"{HOME}/__main__.py"  # the one file of the package that imports them


class MoveFlowsAndTasks(BuildHookInterface[Any]):
    """Renames the files in a wheel; the repository's files stay as they are."""

    _renamed: str | None = None  # the folder with the renamed files during the build

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Give the renamed files to the builder."""
        if version == "editable":
            return
        root, folder = Path(self.root), tempfile.mkdtemp()
        self._renamed = folder
        for path in [root / WAY_IN, *(path for top in MOVED for path in sorted((root / top).rglob("*.py")))]:
            inside = path.relative_to(root)
            copy = Path(folder) / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(renamed(path.read_text("utf-8"), str(inside)), "utf-8")
        wanted = {f"{folder}/{WAY_IN}": WAY_IN, **{f"{folder}/{top}": f"{HOME}/{top}" for top in MOVED}}
        build_data["force_include"].update(wanted, **{str(root / "prefect.yaml"): f"{HOME}/prefect.yaml"})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the renamed files."""
        if self._renamed is not None:
            shutil.rmtree(self._renamed)


def renamed(text: str, name: str) -> str:
    """A file's text with `from tasks.a import b` as `from promptmill.tasks.a import b`; no other character changes.

    Raises: ValueError for `import tasks.a`, whose name in the file would change too.
    """
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import) and any(_is_moved(alias.name) for alias in node.names):
            raise ValueError(
                f"{name}:{node.lineno} has `{ast.unparse(node)}`; the wheel renames only `from … import …`. Write that."
            )
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _is_moved(node.module or ""):
            line, at = lines[node.lineno - 1], node.col_offset
            lines[node.lineno - 1] = f"{line[:at]}{line[at:].replace('from ', f'from {HOME}.', 1)}"
    return "\n".join(lines)


def _is_moved(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in MOVED
