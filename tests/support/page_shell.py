"""A reader's shell: it runs what a page says line by line, and checks what can't be run here for what can be known of it.

`promptmill` runs in this process, since each process of its own costs more than a second of CPU. Where a page says
`s3://lake`, a local folder stands in for the object store, and the simulated provider for every provider.
"""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from flows.__main__ import app
from promptmill.errors import PromptmillError
from promptmill.simulator import Simulator
from promptmill.simulator.__main__ import changes_of, make_parser
from tests.support.answering_files import answer_file
from tests.support.unrun_commands import CHECKS, check_words

_IN_BASH = {"cat", "cp", "echo", "head", "ls", "mkdir", "mv", "printf", "sleep"}
_OPERATORS = {"|", ">", ">>", "<", ";", "||"}
_ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.DOTALL)
_NEEDS_A_SERVER = ("deploy", "worker", "doctor", "batches advance")
_NEEDS_A_RUN = ("pause", "resume", "set", "stop")  # that is under way
_LAKE = "s3://lake"


class PageShell:
    """Runs the lines of one page in a folder of its own."""

    def __init__(self, folder: Path, provider: Simulator, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.written: set[str] = set()  # files that the page's blocks are
        self._provider = provider
        self._patch = patch
        self._set("OPENAI_API_KEY", "test")
        self._set("OPENAI_BASE_URL", provider.base_url)

    def here(self, text: str) -> str:
        """A text with the addresses that stand in for those of a page."""
        origin = self._provider.base_url.removesuffix("/v1")
        text = re.sub(
            r"http://127\.0\.0\.1:8080|https://\w+\.openai\.azure\.com|https://api\.openai\.com", origin, text
        )
        return text.replace(_LAKE, str(self.folder / "lake"))

    def run(self, line: str) -> str:
        """Run a line; returns what it printed."""
        line = self.here(line)
        words = shlex.split(line, comments=True)
        if words[-1] == "&":
            words.pop()
        if "$" in line or _OPERATORS & {*words}:
            assert words[0] in {*_IN_BASH, "promptmill"}, f"no shell runs {line!r} here"
            return self._in_bash(line)
        output = ""
        for command in _split(words, "&&"):
            output += self._one(command)
        return output

    def _one(self, words: list[str]) -> str:
        with self._patch.context() as patch:
            while words and (found := _ASSIGNMENT.fullmatch(words[0])):
                words = words[1:]
                patch.setenv(found[1], found[2].replace("…", "test"))
            if not words:
                return ""
            if words[0] in _IN_BASH:
                return self._in_bash(shlex.join(words))
            if (own := self._OWN.get(words[0])) is not None:
                return own(self, words[1:]) or ""
            assert words[0] in CHECKS, (
                f"{words[0]!r} is a command that no test knows; teach tests/support/page_shell.py"
            )
            CHECKS[words[0]](words[1:])
            return ""

    def _in_bash(self, line: str) -> str:
        scripts = Path(sys.executable).parent
        self._patch.setenv("PATH", str(scripts), prepend=":")
        done = subprocess.run(["bash", "-ec", line], cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout

    def _set(self, name: str, value: str) -> None:
        self._patch.setenv(name, value.replace("…", "test"))

    def _export(self, words: list[str]) -> None:
        for word in words:
            found = _ASSIGNMENT.fullmatch(word)
            assert found, f"`export {word}` gives no value"
            self._set(found[1], found[2])
            if found[1].startswith("AZURE"):  # they count where nobody names another provider
                self._patch.delenv("OPENAI_API_KEY", raising=False)
                self._patch.delenv("OPENAI_BASE_URL", raising=False)

    def _promptmill(self, words: list[str]) -> str:
        if words[0] == "simulate":
            self._provider.configure(**changes_of(make_parser("promptmill simulate").parse_args(words[1:])))
            return ""
        if (
            words[0] in _NEEDS_A_RUN
            or shlex.join(words).startswith(_NEEDS_A_SERVER)
            or "--prefect" in words
            or words[0].startswith("--install")
        ):
            check_words(words)
            return ""
        if words[0] == "run" and "batch" in words:
            words = [*words, "--set", "batch.poll_seconds=0.1"]  # a reader has the time to wait a minute
        done = CliRunner().invoke(app, words, env={"COLUMNS": "100", "NO_COLOR": "1"}, prog_name="promptmill")
        if done.exception is not None and not (isinstance(done.exception, SystemExit) and done.exit_code == 0):
            said = f"`promptmill {shlex.join(words)}`: {done.exception!r}\n{done.output}"
            raise AssertionError(said) from (None if isinstance(done.exception, PromptmillError) else done.exception)
        return done.output

    def _vllm(self, words: list[str]) -> None:
        """`vllm run-batch`: what it reads and writes, by the simulated provider."""
        assert words[0] == "run-batch"
        parser = argparse.ArgumentParser()
        for names in (("-i",), ("-o",), ("--model",)):
            parser.add_argument(*names, required=True)
        given = parser.parse_args(words[1:])
        answer_file(self.folder / given.i, self.folder / given.o, self._provider)

    def _kubectl(self, words: list[str]) -> None:
        if words[:2] == ["apply", "-f"]:
            assert words[2] in self.written, f"no block of the page is {words[2]}"
        else:
            assert words[:3] == ["create", "secret", "generic"], words

    _OWN: ClassVar[dict[str, Callable[["PageShell", list[str]], str | None]]] = {
        "export": _export,
        "promptmill": _promptmill,
        "vllm": _vllm,
        "kubectl": _kubectl,
    }


def _split(words: list[str], at: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for word in words:
        if word == at:
            found.append([])
        else:
            found[-1].append(word)
    return found
