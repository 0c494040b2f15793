"""The Files API."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from promptmill.simulator.errors import ApiError, invalid, rate_limited
from promptmill.simulator.http.connection import json_response
from promptmill.simulator.http.multipart import MultipartReader, find_boundary
from promptmill.simulator.state.file_store import INPUT_LIFETIME_SECONDS, FileRecord, make_page, read_limit
from promptmill.simulator.state.world import World
from promptmill.simulator.wire import uniform

_MAX_FILE_BYTES = 512 * 1024 * 1024
_MAX_FIELD_BYTES = 65_536
_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_DEFAULT_PAGE = _MAX_PAGE = 10_000


@dataclass(slots=True)
class _Upload:
    """A form that is being read: the file's content goes to disk."""

    path: Path
    filename: str | None = None
    fields: dict[str, bytes] = field(default_factory=dict[str, bytes])
    size_bytes: int = 0

    async def read(self, request: Request) -> None:
        """Read the whole form. Raises: ApiError 400 or 413."""
        try:
            reader = MultipartReader(find_boundary(request.headers.get("content-type", "")))
            with self.path.open("wb") as file:
                async for piece in request.stream():
                    self._take(reader, piece, file)
        except ValueError as error:
            raise invalid(f"Could not parse multipart form: {error}") from error
        if not reader.is_complete:
            raise invalid("Could not parse multipart form: it ends before its closing boundary.")

    def _take(self, reader: MultipartReader, piece: bytes, file: BinaryIO) -> None:
        for part, content in reader.feed(piece):
            if part.name == "file":
                self.filename = part.filename or "file"
                self.size_bytes += file.write(content)
                if self.size_bytes > _MAX_FILE_BYTES:
                    raise ApiError(413, f"File is too large. Max size is {_MAX_FILE_BYTES} bytes.", param="file")
            else:
                self.fields[part.name] = (self.fields.get(part.name, b"") + content)[:_MAX_FIELD_BYTES]

    def text(self, name: str) -> str | None:
        """A field's text."""
        value = self.fields.get(name)
        return None if value is None else value.decode("utf-8", "replace")


class FileRoutes:
    """Upload, list, describe, download, delete."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.routes = [
            Route("/files", self.upload, methods=["POST"]),
            Route("/files", self.list),
            Route("/files/{file_id}", self.show),
            Route("/files/{file_id}", self.delete, methods=["DELETE"]),
            Route("/files/{file_id}/content", self.download),
        ]

    async def upload(self, request: Request) -> Response:
        """POST /files: the content goes to disk as it arrives."""
        key = self._world.authorize_request(request)
        _maybe_refuse(self._world)
        form = _Upload(self._world.files.reserve())
        try:
            await form.read(request)
            record = _register(self._world, form, key)
        except BaseException:
            with suppress(OSError):
                form.path.unlink()
            raise
        self._world.ledger.counters["files_uploaded"] += 1
        return json_response(record.as_json())

    async def list(self, request: Request) -> Response:
        """GET /files."""
        key, query = self._world.authorize_request(request), request.query_params
        records = self._world.files.select(key, query.get("purpose"))
        if query.get("order", "desc") == "desc":
            records.reverse()
        limit = read_limit(query.get("limit"), _DEFAULT_PAGE, _MAX_PAGE)
        return json_response(make_page([record.as_json() for record in records], query.get("after"), limit))

    async def show(self, request: Request) -> Response:
        """GET /files/{file_id}."""
        return json_response(self._find(request).as_json())

    async def download(self, request: Request) -> Response:
        """GET /files/{file_id}/content, streamed."""
        return FileResponse(self._find(request).path, media_type="application/octet-stream")

    async def delete(self, request: Request) -> Response:
        """DELETE /files/{file_id}."""
        record = self._find(request)
        self._world.files.delete(record.key, record.id)
        return json_response({"id": record.id, "object": "file", "deleted": True})

    def _find(self, request: Request) -> FileRecord:
        return self._world.files.find(self._world.authorize_request(request), request.path_params["file_id"])


def _register(world: World, form: _Upload, key: str) -> FileRecord:
    purpose, filename = form.text("purpose"), form.filename
    if purpose is None or filename is None:
        name = "purpose" if purpose is None else "file"
        raise invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if purpose not in _PURPOSES:
        supported = ", ".join(f"'{known}'" for known in _PURPOSES)
        raise invalid(f"'{purpose}' is not one of [{supported}] - 'purpose'", "purpose")
    if purpose == "batch" and not filename.endswith(".jsonl"):
        raise invalid("Invalid file format for Batch API. Must be .jsonl", "file")
    seconds = form.text("expires_after[seconds]")
    lifetime = int(seconds) if seconds and seconds.isdigit() else None
    if lifetime is None and purpose == "batch":
        lifetime = INPUT_LIFETIME_SECONDS
    return world.files.add(form.path, key=key, filename=filename, purpose=purpose, lifetime_seconds=lifetime)


def _maybe_refuse(world: World) -> None:
    options, counters = world.options, world.ledger.counters
    counters["upload_attempts"] += 1
    if uniform(options.seed, "upload", counters["upload_attempts"]) < options.upload_429_ratio:
        counters["upload_429"] += 1
        raise rate_limited("Rate limit reached for file uploads.", "requests", options.retry_after_seconds)
