"""Turns rows' requests into the lines of OpenAI batch files, and result lines into answers.

One row is one line, for embeddings too: the API counts embedding inputs and not lines, so several inputs in a line would
save nothing, and we would need a map from lines to rows.
A line that was never run has an `error`. A line that was run and refused has its HTTP error in `response.body.error`,
while the line's own `error` is null. Shapes: OpenAI Batch guide and openai-openapi issue 302, read 2026-11-24.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from promptmill.checkpoints.index import hash_custom_id
from promptmill.job.spec import Endpoint
from promptmill.provider.body_parser import NoJson, parse_body
from promptmill.provider.json_fields import mapping_of
from promptmill.provider.response_body import PATHS
from promptmill.records import Request

_DIGEST_CHARACTERS = 32
NumberedRequest = tuple[int, Request]  # the row's number in the input


@dataclass(frozen=True, slots=True)
class Room:
    """What the next file may hold; None = no limit."""

    requests: int
    bytes: int
    tokens: int | None = None
    usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A packed file on this machine's disk."""

    path: Path
    digest: str  # of its bytes, 32 hex
    requests: int
    bytes: int
    input_tokens: int
    reserved_usd: Decimal
    ids: NDArray[np.uint64]  # hashes of the rows' custom_ids, in the order of the lines
    text_tokens: NDArray[np.uint32]  # of the rows' texts, in the same order
    rows: NDArray[np.int64]  # the rows' numbers in the input, in the same order
    plan: str = ""  # the plan by which they are numbered (plan_record.py)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a result file."""

    custom_id: str
    status: int | None  # HTTP status; None: the line was never run
    body: Any  # parsed JSON, or None
    code: str  # error code of a line that was never run

    @property
    def is_answered(self) -> bool:
        """Whether the line says that its row was answered."""
        return self.status == 200 and not mapping_of(self.body).get("error")


def line_url(endpoint: Endpoint, prefix: str = "/v1") -> str:
    """The path that stands in the `url` of each line and in the `endpoint` of the batch."""
    return f"{prefix}/{PATHS[endpoint]}"


class LineEncoder:
    """Requests → lines; `body_of` gives the HTTP body of a request."""

    def __init__(self, url: str, body_of: Callable[[Request], bytes]) -> None:
        self._middle = b'","method":"POST","url":"' + url.encode() + b'","body":'
        self._body_of = body_of

    def encode(self, request: Request) -> bytes:
        """One line."""
        return b'{"custom_id":"' + request.custom_id.encode() + self._middle + self._body_of(request) + b"}\n"


def decode_line(line: bytes) -> Line | None:
    """A line of a result file; None if it is torn, and its row then counts as missing."""
    try:
        value: Any = parse_body(line)
        custom_id = value["custom_id"]
        response, error = value.get("response"), value.get("error")
        if not isinstance(custom_id, str):
            return None
        if isinstance(response, dict) and (ran := _ran(custom_id, cast(dict[str, Any], response), error)) is not None:
            return ran
        code = cast(dict[str, Any], error).get("code") if isinstance(error, dict) else None
        return Line(custom_id, None, error, str(code or ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _ran(custom_id: str, response: Mapping[str, Any], error: object) -> Line | None:
    """The response of a line that was run; None if the line has only an `error`.

    Some servers fill in both, and some write the body as text. Raises: ValueError for a status that HTTP doesn't have.
    """
    told = response.get("status_code", response.get("status"))
    status = int(str(told).split()[0]) if told not in {None, ""} else 0
    body = _parsed(response.get("body"))
    if error and not body:
        return Line(custom_id, status, {"error": error}, "") if status >= 400 else None
    return Line(custom_id, status, body, "")


def _parsed(body: object) -> Any:
    """Parse a body that is JSON in a string; any other text stays as it is."""
    if isinstance(body, str) and body.lstrip().startswith(("{", "[")):
        with suppress(NoJson):
            return parse_body(body.encode())
    return body


@dataclass(slots=True)
class _Packing:
    """A file that is being packed."""

    file: IO[bytes]
    path: Path
    requests: int = 0
    bytes: int = 0
    tokens: int = 0
    usd: Decimal = Decimal(0)

    def exceeds(self, room: Room, more: int, tokens: int, usd: Decimal) -> str | None:
        """The limit that the next line would exceed."""
        if self.requests + 1 > room.requests:
            return "requests"
        if self.bytes + more > room.bytes:
            return "bytes"
        if room.tokens is not None and self.tokens + tokens > room.tokens:
            return "tokens"
        return "usd" if room.usd is not None and self.usd + usd > room.usd else None


class Packer:
    """Packs a stream of rows file by file. Memory: one request, and 20 bytes for each line of the current file."""

    def __init__(
        self, rows: Iterable[NumberedRequest], encoder: LineEncoder, price: Callable[[Request], Decimal], folder: Path
    ) -> None:
        self._rows = iter(rows)
        self._encoder = encoder
        self._price = price
        self._folder = folder
        self._held: NumberedRequest | None = None
        self._count = 0
        self.full_by: str | None = None  # the limit that ended the last file; None: there were no more requests

    def next_file(self, room: Room) -> BatchFile | None:
        """The next file, as large as the room allows; None if no request is left or the next one doesn't fit."""
        path = self._folder / f"{self._count:05d}.jsonl"
        self._count += 1
        digest = hashlib.blake2b(digest_size=_DIGEST_CHARACTERS // 2)
        numbers: list[int] = []
        hashes: list[int] = []
        texts: list[int] = []
        self.full_by = None
        with path.open("wb", 1 << 20) as file:
            packing = _Packing(file, path)
            while (row := self._take()) is not None:
                number, request = row
                line, usd = self._encoder.encode(request), self._price(request)
                self.full_by = packing.exceeds(room, len(line), request.input_tokens, usd)
                if self.full_by is not None:
                    self._held = row
                    break
                file.write(line)
                digest.update(line)
                numbers.append(number)
                hashes.append(hash_custom_id(request.custom_id))
                texts.append(request.text_tokens)
                packing.requests += 1
                packing.bytes += len(line)
                packing.tokens += request.input_tokens
                packing.usd += usd
        if not packing.requests:
            path.unlink()
            return None
        sizes = (packing.requests, packing.bytes, packing.tokens, packing.usd)
        count = packing.requests
        rows = (np.fromiter(hashes, np.uint64, count), np.fromiter(texts, np.uint32, count))
        return BatchFile(path, digest.hexdigest(), *sizes, *rows, np.fromiter(numbers, np.int64, count))

    def _take(self) -> NumberedRequest | None:
        """The next row: the one that didn't fit into the last file, else one from the stream."""
        held, self._held = self._held, None
        return held if held is not None else next(self._rows, None)
