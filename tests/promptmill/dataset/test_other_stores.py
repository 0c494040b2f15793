"""Stores whose packages aren't installed are named with their extra; what they tell of a file changes with its content."""

import sys
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from promptmill import allowed_urls
from promptmill.allowed_urls import OPEN, URLS_SETTING, close_to_unlisted
from promptmill.dataset.dataset import list_input, open_dataset
from promptmill.errors import DatasetError, JobError, OutputError
from promptmill.job.spec import Input
from promptmill.planning.opened_job import open_output

STORES = [
    pytest.param("hf://datasets/me/mine/a.parquet", "hf", id="hf"),
    pytest.param("gs://bucket/a.parquet", "gs", id="gs"),
    pytest.param("gcs://bucket/a.parquet", "gs", id="gcs"),
    pytest.param("az://container/a.parquet", "az", id="az"),
    pytest.param("abfs://container/a.parquet", "az", id="abfs"),
]


@pytest.mark.parametrize(("url", "extra"), STORES)
def test_missing_package_of_a_store_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, url: str, extra: str
) -> None:
    for package in ("huggingface_hub", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DatasetError, match=rf"pip install 'promptmill\[{extra}\]'"):
        list_input(Input(url=url))
    with pytest.raises(OutputError, match=rf"pip install 'promptmill\[{extra}\]'"):
        open_output(url)


class Hub(MemoryFileSystem):
    """Files that have a digest and no time, as those of Hugging Face have."""

    protocol = "hf"
    store: ClassVar[dict[str, Any]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]
    pseudo_dirs: ClassVar[list[str]] = [""]  # pyright: ignore[reportIncompatibleVariableOverride]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("hf://", "/")))

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        found: Any = super().ls(path, detail=True, **options)
        infos = [{**info, "created": None, "blob_id": str(hash(self.cat_file(info["name"])))} for info in found]
        return infos if detail else [info["name"] for info in infos]

    def info(self, path: str, **options: Any) -> Any:
        info: Any = super().info(path, **options)
        return {**info, "created": None} if info["type"] == "directory" else self.ls(path)[0]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A store at hf://."""
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "hf", Hub)
    return Hub()


def test_changed_file_of_one_size_is_another_input(hub: Hub) -> None:
    fingerprints: list[str] = []
    for text in ("text\na\n", "text\na\n", "text\nb\n"):
        hub.pipe_file("/datasets/me/a.csv", text.encode())
        fingerprints.append(list_input(Input(url="hf://datasets/me/a.csv")).fingerprint)

    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert open_dataset(Input(url="hf://datasets/me/a.csv")).files[0].version


def test_deployed_run_reads_the_store_only_where_it_is_listed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.pipe_file("/datasets/me/a.csv", b"text\na\n")
    monkeypatch.setattr(allowed_urls, "_rules", OPEN)  # to which it is set back
    monkeypatch.delenv(URLS_SETTING, raising=False)
    close_to_unlisted()
    with pytest.raises(JobError, match="has a protocol, or a chain of them, that isn't listed"):
        list_input(Input(url="hf://datasets/me/a.csv"))
    monkeypatch.setenv(URLS_SETTING, "hf://datasets/me")
    close_to_unlisted()

    assert list_input(Input(url="hf://datasets/me/a.csv")).files
