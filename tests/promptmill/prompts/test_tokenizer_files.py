"""tiktoken's files are found or downloaded, intact or not at all, and looking for them never hangs."""

import inspect
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tiktoken_ext.openai_public

from promptmill.prompts.tokenizer_files import (
    FILES,
    EncodingFile,
    Encodings,
    bundled_data,
    cache_folders,
    download,
    own_folder,
    write_whole,
)

Source = Callable[[EncodingFile], bytes | None]


def nothing(file: EncodingFile) -> None:
    """A source that has no file."""


def test_the_files_are_the_ones_that_the_installed_tiktoken_uses() -> None:
    source = inspect.getsource(tiktoken_ext.openai_public)

    assert all(file.url in source and file.sha256 in source for file in FILES.values())


def test_the_files_of_the_extra_are_intact() -> None:
    assert all(file.is_intact(bundled_data(file) or b"") for file in FILES.values())


def test_a_fresh_process_counts_exactly_without_a_network(tmp_path: Path) -> None:
    """And leaves its environment as it was."""
    program = """
import os
before = dict(os.environ)
from promptmill.prompts.tokens import counter_for
counter = counter_for("gpt-4o")
print(counter.label, counter.count("Hello world!"), counter is counter_for("gpt-4o"), before == dict(os.environ))
"""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TMPDIR": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    kept = [path.name for path in (tmp_path / "cache" / "promptmill" / "tiktoken").iterdir()]

    assert ("tiktoken o200k_base 3 True True\n", "") == (run.stdout, run.stderr)
    assert [FILES["o200k_base"].cache_name] == kept


def test_a_cached_file_comes_first(tmp_path: Path) -> None:
    file = FILES["cl100k_base"]
    write_whole(tmp_path, file.cache_name, bundled_data(file) or b"")
    asked: list[str] = []
    found = Encodings({"DATA_GYM_CACHE_DIR": str(tmp_path)}, _recording(asked), _recording(asked)).get(file.name)

    assert found is not None
    assert [] == asked


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    file = FILES["cl100k_base"]
    (tmp_path / file.cache_name).write_bytes(b"torn")

    assert Encodings({"TIKTOKEN_CACHE_DIR": str(tmp_path)}, downloaded=nothing).get(file.name) is not None
    assert file.is_intact((tmp_path / file.cache_name).read_bytes())


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    found = Encodings({"TIKTOKEN_CACHE_DIR": str(tmp_path / "file" / "cache")}, downloaded=nothing)

    assert found.get("cl100k_base") is not None


def test_a_download_is_tried_once_a_process() -> None:
    asked: list[str] = []
    found = Encodings({"TIKTOKEN_CACHE_DIR": ""}, nothing, _recording(asked))
    for _ in range(3):
        assert found.get("o200k_base") is None
        assert found.get("cl100k_base", allow_download=False) is None

    assert ["o200k_base"] == asked


def test_many_threads_find_an_encoding_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def bundled(file: EncodingFile) -> bytes | None:
        asked.append(file.name)
        return bundled_data(file)

    found = Encodings({"TIKTOKEN_CACHE_DIR": str(tmp_path)}, bundled, nothing)
    with ThreadPoolExecutor(8) as pool:
        encodings = list(pool.map(found.get, ["cl100k_base"] * 8))

    assert 1 == len({id(one) for one in encodings})
    assert ["cl100k_base"] == asked


def test_a_download_that_hangs_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that takes the connection and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        started = time.monotonic()

        assert download(FILES["o200k_base"], seconds=0.3) is None
    assert time.monotonic() - started < 3
    for thread in threading.enumerate():
        if thread.name.startswith("download-"):
            thread.join(10)


@pytest.mark.parametrize(
    ("environ", "last"),
    [
        ({"TIKTOKEN_CACHE_DIR": "/t", "XDG_CACHE_HOME": "/x"}, Path("/t")),
        ({"TIKTOKEN_CACHE_DIR": ""}, None),
        ({"DATA_GYM_CACHE_DIR": "/g", "XDG_CACHE_HOME": "/x"}, Path("/x/promptmill/tiktoken")),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/promptmill/tiktoken")),
        ({}, Path.home() / ".cache/promptmill/tiktoken"),
    ],
)
def test_files_are_kept_where_the_environment_says(environ: dict[str, str], last: Path | None) -> None:
    assert last == own_folder(environ)
    assert last is None or last in cache_folders(environ)


def _recording(asked: list[str]) -> Source:
    def source(file: EncodingFile) -> bytes | None:
        asked.append(file.name)
        return None

    return source
