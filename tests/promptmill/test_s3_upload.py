"""Uploads whose blocks go to S3 side by side: whole, in order, unseen until published, and gone when discarded."""

import threading
from typing import Any

import pytest

from promptmill import s3_upload
from promptmill.s3_upload import S3Upload
from promptmill.storage import Storage


class Server:
    """Takes the calls of an upload, and keeps each block until it may go on."""

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}
        self.calls: list[str] = []
        self.may_go_on = threading.Event()
        self.under_way = self.most_under_way = 0
        self.full = False
        self._lock = threading.Lock()

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def call_s3(self, method: str, **named: Any) -> dict[str, Any]:
        self.calls.append(method)
        if method == "complete_multipart_upload":
            self.listed = [part["PartNumber"] for part in named["MultipartUpload"]["Parts"]]
        if method != "upload_part":
            return {"UploadId": "one"}
        with self._lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        self.may_go_on.wait(10)
        if self.full:
            raise OSError(28, "full")
        with self._lock:
            self.under_way -= 1
            self.blocks[named["PartNumber"]] = named["Body"]
        return {"ETag": f"tag-{named['PartNumber']}"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server for blocks of 10 bytes."""
    monkeypatch.setattr(s3_upload, "UPLOAD_BLOCK_BYTES", 10)
    return Server()


def test_blocks_go_side_by_side_and_the_file_is_whole(server: Server) -> None:
    file = S3Upload(server, "lake/a")
    data = bytes(range(95))
    threading.Timer(0.2, server.may_go_on.set).start()
    for start in range(0, 95, 7):
        file.stream.write(data[start : start + 7])
    file.finish()
    assert "complete_multipart_upload" not in server.calls
    file.publish()
    file.discard()

    assert b"".join(server.blocks[number] for number in sorted(server.blocks)) == data
    assert server.listed == list(range(1, 11))
    assert 1 < server.most_under_way <= 4
    assert "abort_multipart_upload" not in server.calls


def test_a_block_that_is_refused_fails_the_file_and_leaves_room_for_others(server: Server) -> None:
    server.full = True
    server.may_go_on.set()
    for _ in range(3):
        file = S3Upload(server, "lake/a")
        with pytest.raises(OSError, match="full"):
            file.stream.write(bytes(60))
            file.finish()
        file.discard()
        assert server.calls[-1] == "abort_multipart_upload"
    server.full = False
    file = S3Upload(server, "lake/a")
    file.stream.write(bytes(60))
    file.publish()

    assert server.calls[-1] == "complete_multipart_upload"


def test_a_real_server_shows_an_upload_once_it_is_published(s3_folder: str) -> None:
    storage = Storage(s3_folder)
    data = bytes(range(256)) * (70_000)  # three blocks
    file, empty, given_up = (storage.open_unpublished(name) for name in ("file", "empty", "given-up"))
    assert isinstance(file, S3Upload)
    for one in (file, given_up):
        one.stream.write(data)
        one.finish()
    assert storage.sizes() == {}
    file.publish()
    empty.publish()
    given_up.discard()

    assert storage.sizes() == {"file": len(data), "empty": 0}
    assert storage.read("file") == data
