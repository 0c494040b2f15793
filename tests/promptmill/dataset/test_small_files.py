"""Many files on slow storage: few requests, many at once, and none for what the listing tells."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem

from promptmill.cell_values import rows_of
from promptmill.dataset import small_files
from promptmill.dataset.dataset import Dataset, fingerprint_of, open_dataset
from promptmill.dataset.small_files import SmallFiles
from promptmill.errors import DatasetError
from promptmill.job.spec import Input

FILES = 40


class Remote(AsyncFileSystem):
    """A folder on this disk as a storage that is asked over a network; it notes what it is asked."""

    protocol = "remote"
    cachable = False
    asked: list[str] = []  # noqa: RUF012 - one for all instances, as fsspec makes them
    cuts = 0  # bytes that each answer lacks

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._disk = LocalFileSystem()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return str(path).removeprefix("remote://")

    async def _info(self, path: str, **options: Any) -> dict[str, Any]:
        self.asked.append("info")
        return self._described(path)

    async def _ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        self.asked.append("list")
        found = [self._described(str(inner)) for inner in sorted(Path(path).iterdir())]
        return found if detail else [info["name"] for info in found]

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        self.asked.append("get")
        data = Path(path).read_bytes()[start:end]
        return data[: len(data) - self.cuts]

    def _described(self, path: str) -> dict[str, Any]:
        found = self._disk.info(path)
        return {"name": path, "size": found["size"], "type": found["type"], "ETag": str(found["mtime"])}

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        self.asked.append("open")
        return self._disk.open(path, mode)


@pytest.fixture
def remote() -> Iterator[type[Remote]]:
    """The storage, which nobody has asked for anything yet."""
    fsspec.register_implementation("remote", Remote, clobber=True)
    Remote.asked, Remote.cuts = [], 0
    yield Remote
    Remote.asked, Remote.cuts = [], 0


def write_files(folder: Path, suffix: str = "parquet") -> list[str]:
    texts = [f"text {number}" for number in range(FILES)]
    for number, text in enumerate(texts):
        path = folder / f"{number:03d}.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.table({"text": [text]}), path)
        else:
            path.write_text(f"text\n{text}\n" if suffix == "csv" else f'{{"text": "{text}"}}\n')
    return texts


def texts_of(dataset: Dataset) -> Sequence[str]:
    return [row["text"] for table in dataset.read(7) for row in rows_of(table)]


def spec_of(folder: Path) -> Input:
    return Input.model_validate({"url": f"remote://{folder}"})


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_each_small_file_is_asked_for_once(tmp_path: Path, remote: type[Remote], suffix: str) -> None:
    texts = write_files(tmp_path, suffix)

    dataset = open_dataset(spec_of(tmp_path))

    assert texts_of(dataset) == texts
    assert texts_of(dataset) == texts  # a run reads its input three times
    assert remote.asked.count("get") == FILES
    assert len(remote.asked) <= FILES + 8


def test_fingerprint_takes_a_listing_and_no_file(tmp_path: Path, remote: type[Remote]) -> None:
    write_files(tmp_path)

    fingerprint_of(spec_of(tmp_path))

    assert len(remote.asked) <= 4


def test_files_for_which_there_is_no_room_are_asked_for_again(
    tmp_path: Path, remote: type[Remote], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = write_files(tmp_path)
    monkeypatch.setattr(small_files, "_MOST_KEPT_BYTES", 8_000)
    monkeypatch.setattr(small_files, "_WINDOW_FILES", 8)

    assert texts_of(open_dataset(spec_of(tmp_path))) == texts
    assert FILES < remote.asked.count("get") <= 3 * FILES


def test_large_files_are_opened_side_by_side_and_come_in_order(
    tmp_path: Path, remote: type[Remote], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = write_files(tmp_path)
    monkeypatch.setattr(small_files, "_SMALL_BYTES", 1)

    assert texts_of(open_dataset(spec_of(tmp_path))) == texts
    assert remote.asked.count("get") == 0


def test_damaged_file_among_large_ones_is_named(
    tmp_path: Path, remote: type[Remote], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path)
    (tmp_path / "030.parquet").write_bytes(b"PAR1 torn")
    monkeypatch.setattr(small_files, "_SMALL_BYTES", 1)

    with pytest.raises(DatasetError, match=r"030\.parquet isn't Parquet"):
        open_dataset(spec_of(tmp_path))


def test_file_that_became_shorter_is_an_error(tmp_path: Path, remote: type[Remote]) -> None:
    write_files(tmp_path, "csv")
    remote.cuts = 1

    with pytest.raises(DatasetError, match="has become shorter"):
        open_dataset(spec_of(tmp_path))


def test_files_on_this_machine_are_not_kept(tmp_path: Path) -> None:
    assert SmallFiles(LocalFileSystem(), [("a", 5), ("b", 5)]).read("a") is None
