"""A name says who may use it, and nothing is too long to be read at once."""

import ast
from collections.abc import Iterator

from tests.support.names import defined, files_in, module_of, spoken, used
from tests.support.paths import ROOT

OURS = ("promptmill", "tasks", "flows")
ALL = (*OURS, "deployments", "benchmarks", "examples", "tests")
ALLOWED = {  # public names that no other file uses, with the reason
    "main": "python -m calls it",
    "log": "the logger of a module, by custom",
    "AddressClosed": "a message may name the class of an error",
    "TemplateTooLarge": "docstrings of other files name it under Raises",
    "Approval": "Prefect's form has it for a title",
}
MAX_FILE_LINES = 250
MAX_BODY_LINES = 40
MAX_BODY_LINES_OF_MOST = 14  # of nine functions in ten


def test_a_name_begins_with_an_underscore_if_and_only_if_its_own_file_alone_uses_it():
    used_elsewhere = set[tuple[str, str]]().union(*(used(path) for path in files_in(*ALL)))
    wrong: dict[str, str] = {}
    for path in files_in("promptmill", "tasks"):
        module, said = module_of(path), spoken(path)
        for name in defined(path):
            is_used = (module, name) in used_elsewhere
            if name.startswith("_") and is_used:
                wrong[f"{module}.{name}"] = f"other files use it: call it {name.lstrip('_')}"
            elif not name.startswith("_") and not is_used and name not in {*ALLOWED, *said}:
                wrong[f"{module}.{name}"] = f"only its own file uses it: call it _{name}"

    assert not wrong, "\n".join(f"{name}: {advice}" for name, advice in wrong.items())


def functions() -> Iterator[tuple[str, int]]:
    """Each function of ours, and the lines of its body without its docstring."""
    for path in files_in(*OURS):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", lines


def test_no_function_is_too_long():
    sizes = dict(functions())

    assert [f"{name}: {lines} lines" for name, lines in sizes.items() if lines > MAX_BODY_LINES] == []
    assert sorted(sizes.values())[len(sizes) * 9 // 10] <= MAX_BODY_LINES_OF_MOST


def test_no_file_is_too_long():
    files = files_in(*OURS, "deployments", "benchmarks", "examples")
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}

    assert [f"{name}: {lines} lines" for name, lines in sizes.items() if lines > MAX_FILE_LINES] == []
    assert len(sizes) > 500
