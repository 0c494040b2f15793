"""Files on a real S3 server are found as on a disk, and a folder is listed once."""

from typing import Any

import pytest
import s3fs

from promptmill.dataset.dataset import list_input
from promptmill.errors import DatasetError
from promptmill.job.spec import Input
from promptmill.storage import open_filesystem

NAMES = ["a.csv", "both", "both/b.csv", "c [1].csv", "in/", "in/d.csv", "in/day=1/e.csv", "in/empty.csv"]


@pytest.fixture
def bucket(s3_folder: str) -> str:
    """A folder in a bucket with these objects."""
    for name in NAMES:
        data = b"" if name.endswith("/") or "empty" in name else b"text\nx\n"
        s3fs.S3FileSystem().pipe_file(f"{s3_folder}/{name}", data)
    s3fs.S3FileSystem.clear_instance_cache()
    return s3_folder


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("a.csv", ["a.csv"], id="file"),
        pytest.param("in", ["in/d.csv", "in/day=1/e.csv"], id="folder-with-marker-and-empty-file"),
        pytest.param("in/", ["in/d.csv", "in/day=1/e.csv"], id="slash"),
        pytest.param("both", ["both/b.csv"], id="folder-and-file-of-one-name"),
        pytest.param("c [1].csv", ["c [1].csv"], id="brackets"),
        pytest.param("[ab]*.csv", ["a.csv"], id="pattern"),
        pytest.param("in/day=*/*.csv", ["in/day=1/e.csv"], id="pattern-of-folders"),
    ],
)
def test_files_on_s3_are_found_by_name_before_pattern(bucket: str, url: str, expected: list[str]) -> None:
    found = list_input(Input.model_validate({"url": f"{bucket}/{url}"}))

    assert [file.path for file in found.files] == [f"{bucket.removeprefix('s3://')}/{name}" for name in expected]
    assert all(file.bytes == len(b"text\nx\n") and file.version for file in found.files)


@pytest.mark.parametrize("url", ["nothing", "nothing/*.csv", "../no-such-bucket/a.csv"])
def test_what_is_not_on_s3_is_an_error(bucket: str, url: str) -> None:
    url = f"{bucket}/{url}" if ".." not in url else "s3://no-such-bucket/a.csv"
    with pytest.raises(DatasetError, match="no file was found|doesn't exist"):
        list_input(Input.model_validate({"url": url}))


def test_folder_on_s3_is_listed_once(bucket: str) -> None:
    """A listing names at most a thousand objects, so a second one of ten thousand takes ten requests."""
    asked: list[str] = []

    def note(request: Any, **_: object) -> None:
        asked.append(request.url)

    s3fs.S3FileSystem.clear_instance_cache()
    fs: Any = open_filesystem(bucket, "input.url")[0]
    fs.connect()
    fs.s3.meta.events.register("before-send.s3", note)

    list_input(Input.model_validate({"url": f"{bucket}/in"}))

    assert sum("list-type" in url for url in asked) == 1 == len(asked)
