"""Many small objects of S3 by signed URLs, and by s3fs where that can't be."""

from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from promptmill.dataset import small_files
from promptmill.dataset.small_files import SmallFiles
from promptmill.presigned_s3 import PresignedReads
from promptmill.storage import open_filesystem

FILES = 12
CONTENTS = {f"{number:03d} +&=%é.txt": bytes([number]) * (number + 1) for number in range(FILES)}


@pytest.fixture
def files(s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[tuple[str, int]]]:
    """A filesystem and what lies in its folder, in order; the names have what a URL has to spell otherwise."""
    monkeypatch.setattr(small_files, "_MANY_FILES", FILES)
    fs: Any = open_filesystem(s3_folder, None)[0]
    root = s3_folder.removeprefix("s3://")
    fs.pipe({f"{root}/{name}": data for name, data in CONTENTS.items()})
    return fs, [(path, info["size"]) for path, info in sorted(fs.find(root, detail=True).items())]


def test_all_objects_come_back_by_signed_urls(files: tuple[Any, list[tuple[str, int]]]) -> None:
    fs, found = files
    read = PresignedReads(fs).read([path for path, _ in found], [size for _, size in found], 4)

    assert read == [CONTENTS[path.rpartition("/")[2]] for path, _ in found]


@pytest.mark.parametrize("fault", ["wrong-key", "no-client", "no-connection", "shorter"])
def test_what_cannot_be_read_so_is_read_by_s3fs(
    fault: str, files: tuple[Any, list[tuple[str, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, found = files
    small = SmallFiles(fs, found)
    if fault == "wrong-key":
        monkeypatch.setattr(
            PresignedReads, "_url", lambda self, path: _coroutine(f"{fs.endpoint_url}/{path}?X-Amz-Signature=0")
        )  # pyright: ignore
    if fault == "no-client":
        monkeypatch.setattr(PresignedReads, "_url", _raise)
    if fault == "no-connection":
        monkeypatch.setattr(aiohttp.ClientSession, "get", _raise)
    if fault == "shorter":
        fs.pipe_file(found[3][0], b"x")
        with pytest.raises(OSError, match="has become shorter since it was listed"):
            small.read(found[0][0])
        return

    assert [small.read(path) for path, _ in found] == [CONTENTS[path.rpartition("/")[2]] for path, _ in found]


async def _coroutine(url: str) -> str:
    return url


def _raise(*arguments: object, **options: object) -> Any:
    raise aiohttp.ClientError("with a signature in it")


def test_few_files_and_other_storages_make_no_second_client(files: tuple[Any, Sequence[tuple[str, int]]]) -> None:
    fs, found = files

    assert SmallFiles(fs, found)._signed is not None  # pyright: ignore[reportPrivateUsage]
    assert SmallFiles(fs, found[:-1])._signed is None  # pyright: ignore[reportPrivateUsage]
