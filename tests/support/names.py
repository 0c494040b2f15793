"""Which top-level names each file defines, and which names of other files it uses; read from the syntax alone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

Names = set[tuple[str, str]]  # (module, name)


def module_of(path: Path) -> str:
    """The dotted name of a file of this repository."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files_in(*tops: str) -> list[Path]:
    """All Python files under some folders of the repository."""
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]


def defined(path: Path) -> Iterator[str]:
    """The functions, classes and values that a file defines at its top level; no dunder names."""
    for node in ast.parse(path.read_text()).body:
        for name in _targets(node):
            if not name.startswith("__"):
                yield name


def spoken(path: Path) -> set[str]:
    """The names in the signatures, fields and bases of a file's public functions and classes: its callers meet them."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found |= {name for said in _annotations(node) for name in re.findall(r"\w+", ast.unparse(said))}
    return found


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[ast.expr]:
    if isinstance(node, ast.ClassDef):
        yield from node.bases
        for inner in node.body:
            if isinstance(inner, ast.AnnAssign):
                yield inner.annotation
            elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _annotations(inner)
        return
    arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
    yield from (one.annotation for one in arguments if one is not None and one.annotation is not None)
    if node.returns is not None:
        yield node.returns


def used(path: Path) -> Names:
    """The names of other modules that a file imports, or reaches through a module that it imports."""
    tree = ast.parse(path.read_text())
    modules: dict[str, str] = {}
    found: Names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                found.add((node.module, alias.name))
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (module := modules.get(ast.unparse(node.value))) is not None:
            found.add((module, node.attr))
    return {(module, name) for module, name in found if module != module_of(path)}


def _targets(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    for target in targets:
        for inner in ast.walk(target):
            if isinstance(inner, ast.Name):
                yield inner.id
