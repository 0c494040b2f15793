"""Commands of the pages that need a network, a server, a cluster or minutes: no test runs them, and this is checked of them."""

import importlib.util
import re
from collections.abc import Callable
from typing import Any

import typer
import yaml

from flows.__main__ import app
from tests.support.paths import ROOT


def check_words(words: list[str]) -> None:
    """Whether the `promptmill` command takes these words; nothing is run."""
    group: Any = typer.main.get_command(app)
    while words and words[0] in getattr(group, "commands", {}):
        group, words = group.commands[words[0]], words[1:]
    if words and not words[0].startswith("--install"):
        group.make_context("promptmill", words)


def _check_source(words: list[str]) -> None:
    """An environment is made active: ours."""
    assert words == [".venv/bin/activate"], words


def _check_ci(words: list[str]) -> None:
    assert words == [], words


def _check_uvx(words: list[str]) -> None:
    _check_requirement(words[0])


def _check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets, words


def _check_pip(words: list[str]) -> None:
    assert words[0] == "install", words
    for word in words[1:]:
        _check_requirement(word)


def _check_requirement(word: str) -> None:
    found = re.fullmatch(r"promptmill(?:\[([a-z,]+)\])?|dist/promptmill-\S+\.whl", word)
    assert found, f"{word} isn't our package"
    extras = set(re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE))
    assert set((found[1] or "").split(",")) - {""} <= extras, word


def _check_paths(words: list[str]) -> None:
    assert all((ROOT / word).exists() for word in words if "/" in word), words


def _check_python(words: list[str]) -> None:
    """A script or module of ours, with options that its source names."""
    if words[0] == "-m":
        module = words[1]
        if module == "benchmarks":
            assert words[2] in (ROOT / "benchmarks/__main__.py").read_text(), words
        assert importlib.util.find_spec(module), f"there is no module {module}"
        return
    source = (ROOT / words[0]).read_text()
    assert [word for word in words[1:] if word.startswith("--") and f'"{word}"' not in source] == []


def _check_prefect(words: list[str]) -> None:
    assert words[:2] == ["--no-prompt", "deploy"], words
    file = words[words.index("--prefect-file") + 1] if "--prefect-file" in words else "prefect.yaml"
    deployed = yaml.safe_load((ROOT / file).read_text())["deployments"]
    if "-n" in words:
        flow, _, name = words[words.index("-n") + 1].partition("/")
        assert any(f":{flow.replace('-', '_')}" in one["entrypoint"] and one["name"] == name for one in deployed), words
    else:
        assert "--all" in words, words


def _check_docker(words: list[str]) -> None:
    assert words[0] in {"build", "push"}, words
    assert all((ROOT / words[at + 1]).exists() for at, word in enumerate(words) if word == "-f"), words


CHECKS: dict[str, Callable[[list[str]], None]] = {
    ".": _check_source,
    ".ci/run": _check_ci,
    "docker": _check_docker,
    "make": _check_make,
    "pip": _check_pip,
    "pipx": _check_pip,
    "prefect": _check_prefect,
    "pytest": _check_paths,
    "python": _check_python,
    "uvx": _check_uvx,
}
