"""A file on S3 that nobody sees before it's published: a multipart upload whose blocks go to the server side by side.

s3fs sends one block after another, and the writer waits for each (s3fs 2026.9, core.py, read 2026-11-28).
All uploads of a process together have a bounded number of blocks under way, so that many files take little more memory
than few: each holds less than a block beside them.
"""

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import BoundedSemaphore
from typing import IO, Any, cast

UPLOAD_BLOCK_BYTES = 8 * 2**20  # S3 takes at least 5 MiB, and 10,000 blocks of a file
_MOST_BLOCKS = 4  # under way in this process
_AT_ONCE = 4  # of one file
_room = BoundedSemaphore(_MOST_BLOCKS)


class _Blocks(io.RawIOBase):
    """Takes bytes, and hands them on in blocks of one size, the last one excepted."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send
        self._held = bytearray()
        self._bytes = 0

    def writable(self) -> bool:
        """Whether bytes can be written."""
        return True

    def write(self, data: Any, /) -> int:
        """Append bytes."""
        size = memoryview(data).nbytes
        self._held += data
        self._bytes += size
        while len(self._held) >= UPLOAD_BLOCK_BYTES:
            self._hand_on(UPLOAD_BLOCK_BYTES)
        return size

    def tell(self) -> int:
        """The bytes so far."""
        return self._bytes

    def end(self) -> None:
        """Hand on the last block; a file without bytes has one too."""
        if self._held or not self._bytes:
            self._hand_on(len(self._held))

    def _hand_on(self, size: int) -> None:
        block = bytes(self._held[:size])
        del self._held[:size]
        self._send(block)


class S3Upload:
    """A multipart upload: publishing the file completes it, and discarding the file aborts it."""

    def __init__(self, fs: Any, path: str) -> None:
        """`fs` is of s3fs. Nothing is sent before the first block is full."""
        self._fs = fs
        bucket, key, _ = fs.split_path(path)
        self._place = {"Bucket": bucket, "Key": key}
        self._upload: str | None = None  # its id; None before it's begun and after it's over
        self._is_finished = False
        self._blocks: list[Future[dict[str, Any]]] = []
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="upload")
        self._taken = _Blocks(self._send)
        self.stream = cast(IO[bytes], self._taken)

    def finish(self) -> None:
        """Return when every byte is at the server."""
        if not self._is_finished:
            self._taken.end()
            for block in self._blocks:
                block.result()
            self._threads.shutdown()
            self._is_finished = True

    def publish(self) -> None:
        """Complete the upload."""
        self.finish()
        if self._upload is not None:
            listed = [block.result() for block in self._blocks]
            self._call("complete_multipart_upload", UploadId=self._upload, MultipartUpload={"Parts": listed})
            self._upload = None

    def discard(self) -> None:
        """Abort the upload, once none of its blocks is under way."""
        self._threads.shutdown(cancel_futures=True)
        if self._upload is not None:
            upload, self._upload = self._upload, None
            with suppress(FileNotFoundError):  # the server has forgotten it
                self._call("abort_multipart_upload", UploadId=upload)

    def _send(self, block: bytes) -> None:
        """Send a block in a thread, once there is room for it. Raises: what sending an earlier block raised."""
        for sent in self._blocks:
            if sent.done():
                sent.result()
        if self._upload is None:
            self._upload = str(self._call("create_multipart_upload")["UploadId"])
        _room.acquire()
        try:
            sending = self._threads.submit(self._send_now, len(self._blocks) + 1, block)
        except BaseException:
            _room.release()
            raise
        sending.add_done_callback(lambda _: _room.release())
        self._blocks.append(sending)

    def _send_now(self, number: int, block: bytes) -> dict[str, Any]:
        told = self._call("upload_part", UploadId=self._upload, PartNumber=number, Body=block)
        checksum = {"ChecksumSHA256": told["ChecksumSHA256"]} if "ChecksumSHA256" in told else {}
        return {"PartNumber": number, "ETag": told["ETag"], **checksum}

    def _call(self, method: str, **named: Any) -> Any:
        return self._fs.call_s3(method, **self._place, **named)
