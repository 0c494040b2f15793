"""Each room imports only what its row in the table allows: dependence runs one way. No file reads what may hold code."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT

TOPS = ("promptmill", "tasks", "flows")
GROUND = "promptmill"  # its own files: errors, records, storage … and the notebook, which is a way in and not ground
SIMULATOR = "promptmill.simulator"  # its own files are ground for its rooms, as the package's are for all others
ENTRANCES = {  # ways in: nobody below imports them
    "promptmill/__init__.py",
    "promptmill/__main__.py",
    "promptmill/notebook.py",
    "promptmill/reading.py",
    "promptmill/so_far.py",
    *(f"promptmill/simulator/{name}.py" for name in ("__init__", "__main__", "app", "server")),
}

# room → rooms that it may import, beside the ground and itself. Lower floors come first.
ALLOWED: dict[str, set[str]] = {
    "promptmill": set(),
    "promptmill.job": set(),
    "promptmill.dataset": {"promptmill.job"},
    "promptmill.prompts": {"promptmill.job"},
    "promptmill.limits": {"promptmill.job"},
    "promptmill.checkpoints": {"promptmill.job"},
    "promptmill.steering": {"promptmill.job", "promptmill.checkpoints"},
    "promptmill.cache": {"promptmill.job", "promptmill.checkpoints"},
    "promptmill.provider": {"promptmill.job", "promptmill.limits"},
    "promptmill.output": {"promptmill.job", "promptmill.checkpoints", "promptmill.prompts"},
    "promptmill.audit": {"promptmill.checkpoints", "promptmill.limits"},
    "promptmill.output.report": {"promptmill.job", "promptmill.checkpoints", "promptmill.output", "promptmill.audit"},
    "promptmill.output.export": {"promptmill.output"},
    "promptmill.planning": {
        "promptmill.job",
        "promptmill.dataset",
        "promptmill.prompts",
        "promptmill.limits",
        "promptmill.checkpoints",
        "promptmill.cache",
        "promptmill.provider",
        "promptmill.output",
    },
}
ALLOWED["promptmill.runs"] = {*ALLOWED["promptmill.planning"], "promptmill.planning", "promptmill.output.report"}
ALLOWED["promptmill.runs"] |= {"promptmill.audit", "promptmill.steering"}
ALLOWED["promptmill.batch"] = {*ALLOWED["promptmill.runs"], "promptmill.runs"}
ALLOWED["promptmill.sharding"] = {*ALLOWED["promptmill.runs"], "promptmill.runs"}
ALLOWED["promptmill.standalone"] = {*ALLOWED["promptmill.batch"], "promptmill.batch", "promptmill.sharding"}
_PACKAGE = {*ALLOWED}
_SIMULATOR: dict[str, set[str]] = {
    SIMULATOR: set(),
    f"{SIMULATOR}.answers": {SIMULATOR},
    f"{SIMULATOR}.limits": {SIMULATOR},
    f"{SIMULATOR}.state": {SIMULATOR, f"{SIMULATOR}.limits"},
    f"{SIMULATOR}.http": {SIMULATOR, f"{SIMULATOR}.state"},
}
_BELOW = {*_SIMULATOR}
_SIMULATOR |= {f"{SIMULATOR}.{name}": _BELOW for name in ("batches", "online")}
ALLOWED["tasks"] = {"tasks.server"}
ALLOWED["tasks.prefect_internals"] = {"promptmill.job"}
ALLOWED["tasks.server"] = {*_PACKAGE, "tasks.prefect_internals"}
ALLOWED["tasks.run"] = {*_PACKAGE, "tasks.prefect_internals", "tasks.server"}
ALLOWED["tasks.sharding"] = {*_PACKAGE, "tasks.prefect_internals", "tasks.server", "tasks.run"}
ALLOWED["tasks.batch"] = {*_PACKAGE, "tasks.prefect_internals", "tasks.server", "tasks.run"}
ALLOWED["flows"] = {*ALLOWED, SIMULATOR}
ALLOWED["flows.command"] = {*ALLOWED, SIMULATOR}
ALLOWED |= _SIMULATOR

WITHOUT_PREFECT = "promptmill"
COMMAND = {"flows/__main__.py": "flows.command"}  # the command starts flows, and no flow knows the command


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module that a file imports, whole names; `from a import b` names a.b where that is a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(_whole(node.module, alias.name) for alias in node.names)
    return frozenset(found)


def _whole(module: str, name: str) -> str:
    inner = ROOT.joinpath(*module.split("."), name)
    return f"{module}.{name}" if inner.with_suffix(".py").exists() or inner.is_dir() else module


def room_of(module: str) -> str:
    """The room that a module lies in, which may be the module itself."""
    return module if ROOT.joinpath(*module.split(".")).is_dir() else module.rpartition(".")[0]


def files_of(top: str) -> list[Path]:
    return [path.relative_to(ROOT) for path in sorted((ROOT / top).rglob("*.py"))]


def imports_of_rooms() -> dict[str, dict[str, set[str]]]:
    """Room → room that it imports → files that do."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in (path for top in TOPS for path in files_of(top)):
        room = COMMAND.get(str(path), ".".join(path.parent.parts))
        found[room]  # a room that imports nothing is a room too
        if str(path) in ENTRANCES:
            continue
        for module in imported(ROOT / path):
            other = room_of(module)
            if module.split(".")[0] in TOPS and other not in {room, GROUND}:
                found[room][other].add(str(path))
    return found


def test_each_room_imports_only_what_the_table_allows() -> None:
    wrong = [
        f"{', '.join(sorted(files))}: {room} may not import {other}"
        for room, others in imports_of_rooms().items()
        for other, files in others.items()
        if room in ALLOWED and other not in ALLOWED[room]
    ]

    assert not wrong, "\n".join(wrong)


def test_the_table_knows_every_room() -> None:
    rooms = imports_of_rooms()
    unknown = [
        f'    "{room}": {{{", ".join(f"{one!r}" for one in sorted(others))}}},'
        for room, others in rooms.items()
        if room not in ALLOWED
    ]

    assert not unknown, "add to ALLOWED in tests/test_architecture.py:\n" + "\n".join(unknown)


def test_the_table_has_no_row_for_a_room_that_is_gone() -> None:
    assert [room for room in ALLOWED if not ROOT.joinpath(*room.split(".")).is_dir()] == []


def test_no_room_leads_back_to_itself() -> None:
    left = {room: {*others} & {*ALLOWED} - {room} for room, others in ALLOWED.items()}
    while left:
        ground_floor = {room for room, others in left.items() if not others}
        assert ground_floor, f"these rooms import each other in a circle: {sorted(left)}"
        left = {room: others - ground_floor for room, others in left.items() if room not in ground_floor}


def test_the_package_knows_no_prefect() -> None:
    files = files_of("promptmill")
    knowing = [str(path) for path in files if "prefect" in {name.split(".")[0] for name in imported(ROOT / path)}]

    assert knowing == []
    assert len(files) > 300


def test_the_simulator_imports_nothing_of_ours() -> None:
    for path in files_of("promptmill/simulator"):
        ours = {module for module in imported(ROOT / path) if module.split(".")[0] in TOPS}
        assert {module for module in ours if not module.startswith(SIMULATOR)} == set(), path


def test_a_flow_imports_no_other_flow() -> None:
    for path in (ROOT / "flows").glob("*.py"):
        if f"flows/{path.name}" not in COMMAND:
            assert not {module for module in imported(path) if module.split(".")[0] == "flows"}, path.name


def test_each_room_says_what_it_is_for() -> None:
    for room in ALLOWED:
        text = ROOT.joinpath(*room.split("."), "__init__.py").read_text()
        docstring = ast.get_docstring(ast.parse(text))
        assert docstring, room


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
