"""A small S3 in memory that refuses a session's key once it has expired."""

import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from email.message import Message
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_ERROR = "<Error><Code>{0}</Code><Message>The provided token has expired.</Message></Error>"
_CHECKSUMS = ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer")


class MemoryS3:
    """The objects of one bucket by key; requests that are signed with a key of `expired` are refused."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.expired: set[str] = set()
        self.code = "ExpiredToken"  # of the refusal
        self.checksum_code: str | None = None  # of the refusal of a request with a checksum; None: it is taken
        self.refused = 0
        self._parts: dict[str, dict[int, bytes]] = {}  # of uploads under way

    def answer(self, method: str, path: str, headers: Message, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to one request."""
        if (refusal := self._refusal(headers)) is not None:
            self.refused += 1
            return refusal
        only_new = headers.get("If-None-Match") == "*"
        parts = urlsplit(path)
        key = unquote(parts.path).lstrip("/").partition("/")[2]
        if not key and method == "GET":
            return 200, self._listing(parse_qs(parts.query).get("prefix", [""])[0])
        query = parse_qs(parts.query, keep_blank_values=True)
        if "uploads" in query or "uploadId" in query:
            return self._upload(method, key, query, body)
        if method == "PUT":
            if only_new and key in self.objects:
                return 412, _ERROR.format("PreconditionFailed").encode()
            self.objects[key] = body
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, b""
        if method == "POST":
            for name in re.findall(r"<Key>(.*?)</Key>", body.decode()):
                self.objects.pop(unquote(name), None)
            return 200, b"<DeleteResult/>"
        if key not in self.objects:
            return 404, _ERROR.format("NoSuchKey").encode()
        return 200, b"" if method == "PUT" else self.objects[key]

    def _refusal(self, headers: Message) -> tuple[int, bytes] | None:
        if self.checksum_code is not None and any(name.lower().startswith(_CHECKSUMS) for name in headers):
            return 400, _ERROR.format(self.checksum_code).encode()
        signed_with = re.search(r"Credential=([^/]*)/", headers.get("Authorization", ""))
        is_expired = signed_with is not None and signed_with[1] in self.expired
        return (403, _ERROR.format(self.code).encode()) if is_expired else None

    def _upload(self, method: str, key: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes]:
        """A file that comes in parts: begun, a part brought, completed or given up."""
        parts = self._parts.setdefault(key, {})
        if method == "PUT":
            parts[int(query["partNumber"][0])] = body
        elif method == "DELETE":
            del self._parts[key]
            return 204, b""
        elif "uploadId" in query:
            self.objects[key] = b"".join(data for _, data in sorted(self._parts.pop(key).items()))
            return 200, b"<CompleteMultipartUploadResult/>"
        return 200, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"

    def _listing(self, prefix: str) -> bytes:
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>e</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()


@contextmanager
def memory_s3() -> Generator[tuple[MemoryS3, str]]:
    """A running server, and its address."""
    world = MemoryS3()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "aws-chunked" in self.headers.get("Content-Encoding", ""):
                body = _unframed(body)
            status, content = world.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{md5(content).hexdigest()}"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _answer

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield world, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _unframed(body: bytes) -> bytes:
    """The bytes of a body that came in chunks with signatures or a trailing checksum."""
    found, at = b"", 0
    while (end := body.find(b"\r\n", at)) >= 0:
        size = int(body[at:end].split(b";")[0], 16)
        if size == 0:
            break
        found += body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
    return found
