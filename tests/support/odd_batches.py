"""A provider's Batch API with odd manners: each of its answers may be replaced, and it counts what each row was paid for."""

import json
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from promptmill.provider.transport import Credentials

Answered = tuple[int, dict[str, Any]]  # status and body


def chat(text: str = '{"label": "good", "score": 1}', **changes: Any) -> dict[str, Any]:
    """The body of an answer."""
    return {
        "id": "chatcmpl-1",
        "model": "gpt-6-luna",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
        **changes,
    }


def refusal(status: int, message: str, **more: Any) -> Answered:
    """An answer that refuses."""
    return status, {"error": {"message": message, "type": "invalid_request_error", **more}}


def result(line: dict[str, Any], body: Any = None, status: Any = 200, error: Any = None) -> dict[str, Any]:
    """A line of an output file."""
    response = {"status_code": status, "request_id": "r", "body": chat() if body is None else body}
    return {"id": "batch_req_1", "custom_id": line["custom_id"], "response": response, "error": error}


def text_of(line: dict[str, Any]) -> str:
    """The row's text in an input line."""
    return line["body"]["messages"][-1]["content"].removeprefix("Label: ")


def row_of(line: dict[str, Any]) -> int:
    """The number at the end of a row's text."""
    return int(text_of(line).split()[-1])


@dataclass
class OddBatches:
    """Replace any of the callables; each returns None where the provider is to answer as OpenAI does."""

    on_line: Callable[[dict[str, Any], int], dict[str, Any] | None] = lambda line, nth: result(line)  # None: no line
    on_upload: Callable[[dict[str, Any]], Answered | None] = lambda file: None
    on_file: Callable[[dict[str, Any]], Answered | None] = lambda file: None
    on_create: Callable[[dict[str, Any]], Answered | None] = lambda body: None
    on_view: Callable[[dict[str, Any], int], Answered | None] = lambda batch, looks: None
    on_content: Callable[[bytes, int], bytes | None] = lambda data, reads: None
    url: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    batches: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    uploads: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])  # those that were refused too
    headers: list[Message] = field(default_factory=list[Message])  # of every request
    paths: list[str] = field(default_factory=list[str])  # with query, of every request
    lines: Counter[str] = field(default_factory=Counter[str])  # row's text → times submitted
    paid: Counter[str] = field(default_factory=Counter[str])  # row's text → times answered
    online: Counter[str] = field(default_factory=Counter[str])  # row's text → times answered by a request of its own
    looks: Counter[str] = field(default_factory=Counter[str])

    @property
    def credentials(self) -> Credentials:
        """How to reach it."""
        return Credentials(api_key="test", base_url=f"{self.url}/v1")

    def answer(self, method: str, path: str, content: bytes, kind: str) -> tuple[int, bytes]:
        """Status and body of any request."""
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[-1] == "completions":
            self.online[json.loads(content)["messages"][-1]["content"].removeprefix("Label: ")] += 1
            return 200, json.dumps(chat()).encode()
        at = next(number for number, part in enumerate(parts) if part in {"files", "batches"})
        rest = parts[at + 1 :]
        if parts[at] == "files" and rest[1:] == ["content"]:
            return self._content(rest[0])
        status, body = (
            self._files(method, rest, content, kind) if parts[at] == "files" else self._batches(rest, content)
        )
        return status, json.dumps(body).encode()

    def _content(self, file_id: str) -> tuple[int, bytes]:
        if file_id not in self.files:
            return 404, b'{"error": {"message": "No such File object"}}'
        self.looks[file_id] += 1
        data = self.files[file_id]["data"]
        other = self.on_content(data, self.looks[file_id])
        return 200, data if other is None else other

    def _files(self, method: str, rest: list[str], content: bytes, kind: str) -> Answered:
        if method == "POST":
            file = _upload_of(content, kind)
            self.uploads.append(file)
            if (refused := self.on_upload(file)) is not None:
                return refused
            file["id"] = f"file-{len(self.uploads)}"
            self.files[file["id"]] = file
            return self.on_file(file) or (200, shown(file))
        if not rest:
            return 200, {"object": "list", "data": [shown(file) for file in self.files.values()], "has_more": False}
        if rest[0] not in self.files:
            return refusal(404, f"No such File object: {rest[0]}")
        if method == "DELETE":
            del self.files[rest[0]]
            return 200, {"id": rest[0], "object": "file", "deleted": True}
        return self.on_file(self.files[rest[0]]) or (200, shown(self.files[rest[0]]))

    def _batches(self, rest: list[str], content: bytes) -> Answered:
        if not rest and content:
            body = json.loads(content)
            return self.on_create(body) or (200, self._create(body))
        if not rest:
            return 200, {"object": "list", "data": list(self.batches.values()), "has_more": False}
        self.looks[rest[0]] += 1
        batch = self.batches[rest[0]]
        return self.on_view(batch, self.looks[rest[0]]) or (200, batch)

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        output: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for text in self.files[body["input_file_id"]]["data"].splitlines():
            line = json.loads(text)
            self.lines[text_of(line)] += 1
            found = self.on_line(line, self.lines[text_of(line)])
            if found is None:
                continue
            is_paid = str((found.get("response") or {}).get("status_code")).startswith("200")
            self.paid[text_of(line)] += is_paid
            (output if is_paid else errors).append(found)
        number = len(self.batches) + 1
        named = {f"{kind}_file_id": self._keep(found, f"{kind}-{number}") for kind, found in _named(output, errors)}
        batch: dict[str, Any] = {
            "id": f"batch_{number}", "object": "batch", "endpoint": body["endpoint"], "status": "completed",
            "input_file_id": body["input_file_id"], "completion_window": "24h", "created_at": 1_800_000_000,
            "metadata": body.get("metadata"),
            "request_counts": {"total": len(output) + len(errors), "completed": len(output), "failed": len(errors)},
            **named,
        }  # fmt: skip
        self.batches[batch["id"]] = batch
        return batch

    def _keep(self, lines: list[dict[str, Any]], name: str) -> str | None:
        if not lines:
            return None
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        self.files[name] = {"id": name, "data": data, "filename": name, "fields": {}}
        return name


def _named(output: list[dict[str, Any]], errors: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    return [("output", output), ("error", errors)]


def shown(file: dict[str, Any]) -> dict[str, Any]:
    """A file as the provider shows it."""
    return {
        "id": file["id"], "object": "file", "bytes": len(file["data"]), "created_at": 1_800_000_000,
        "filename": file["filename"], "purpose": "batch", "status": "processed",
    }  # fmt: skip


def _upload_of(content: bytes, kind: str) -> dict[str, Any]:
    """An uploaded form: the file's name and data, and the other fields."""
    form = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
    found: dict[str, Any] = {"fields": {}}
    for part in form.get_payload():  # type: ignore[union-attr]
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        data = part.get_payload(decode=True)  # type: ignore[union-attr]
        if name == "file":
            found |= {"data": data, "filename": part.get_filename()}  # type: ignore[union-attr]
        else:
            found["fields"][name] = data.decode()  # type: ignore[union-attr]
    return found


@contextmanager
def odd_batches() -> Generator[OddBatches]:
    """One that listens while this lasts."""
    provider = OddBatches()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            provider.headers.append(self.headers)
            provider.paths.append(self.path)
            status, body = provider.answer(self.command, self.path, content, self.headers.get("Content-Type", ""))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        provider.url = f"http://127.0.0.1:{server.server_port}"
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
