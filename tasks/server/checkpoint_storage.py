"""Stores Prefect results as checkpoints: a chunk's result is a small JSON record beside its answers.

One block serves every output: its keys are whole URLs, so that any machine finds the checkpoints beside the output, and it
holds no credentials (fsspec reads them from the environment). Prefect's server stores the keys. So for a URL with a
password or signature the key has a digest instead, and only the run's own process knows the URL.
A record names its own serializer, and Prefect obeys it: a pickle would run code, and so would a decoder of JSON that a
record names (prefect 3.8.8, even where it only asks whether there is a record). Others may be able to write to the
storage. Therefore we read a record before Prefect does, and give Prefect a new record that keeps only the old JSON.
If Prefect can't write a result, it only logs that and calls the task completed (prefect 3.8.8). So our own code writes the
answers and raises if that fails; a lost record costs a look at the answers, and no money.
"""

import logging
from hashlib import blake2b
from typing import Any, cast
from uuid import UUID

import anyio.to_thread
import orjson
from prefect.context import TaskRunContext
from prefect.filesystems import WritableFileSystem
from prefect.serializers import JSONSerializer

from promptmill.planning.plan import Chunk
from promptmill.public_url import public_url
from promptmill.runs.engine import Engine
from promptmill.storage import Storage

STORAGE_NAME = "promptmill-checkpoints"
SERIALIZER = JSONSerializer(object_encoder=None, object_decoder=None)
SERIALIZER_FIELDS: dict[str, Any] = SERIALIZER.model_dump(mode="json")  # every field that may name code
_REAL_URLS: dict[
    str, str
] = {}  # key of a folder whose URL holds a secret → the URL; only the run's own process looks here
log = logging.getLogger("promptmill")


class CheckpointStorage(WritableFileSystem):
    """Checkpoints of all outputs; a key is the URL of its object."""

    _block_type_name = "Promptmill Checkpoints"
    _block_type_slug = "promptmill-checkpoints"
    _description = "Where Promptmill keeps the results of finished chunks: beside each output, on its own storage."

    async def read_path(self, path: str) -> bytes:
        """The record at a URL. Raises: FileNotFoundError if there is none of ours; any of STORAGE_ERRORS."""
        storage, name = _split(path)
        result = _recorded_result(await anyio.to_thread.run_sync(storage.read, name))
        if result is None:
            log.warning("%s isn't a record of this version. It counts as missing, and the run writes it again.", path)
            raise FileNotFoundError(path)
        return _fresh_record(result, path, self._block_document_id)

    async def write_path(self, path: str, content: bytes) -> None:
        """Publish an object at a URL, whole or not at all."""
        storage, name = _split(path)
        await anyio.to_thread.run_sync(storage.write, name, content)


def _recorded_result(data: bytes) -> str | None:
    """The JSON text in a record of ours; None for any other bytes."""
    match _parsed(data):
        case {"metadata": {"serializer": serializer, "expiration": None}, "result": str(text), **others} if (
            not others and serializer == SERIALIZER_FIELDS and isinstance(_parsed(text), dict)
        ):
            return text
        case _:
            return None


def _parsed(data: bytes | str) -> object:
    """A JSON value; None if the text isn't JSON or is nested too deeply."""
    try:
        return cast(object, orjson.loads(data))
    except orjson.JSONDecodeError:
        return None


def _fresh_record(result: str, url: str, block_id: UUID | None) -> bytes:
    """A record for Prefect. It names its own place, because Prefect looks where the record says."""
    metadata = {"serializer": SERIALIZER_FIELDS, "storage_key": url, "storage_block_id": block_id}
    return orjson.dumps({"metadata": metadata, "result": result})


def _split(url: str) -> tuple[Storage, str]:
    folder, _, name = url.rpartition("/")
    return Storage(_REAL_URLS.get(folder, folder)), name


async def checkpoint_storage() -> CheckpointStorage:
    """The saved block; made if it doesn't exist yet."""
    block = CheckpointStorage()
    await block.save(STORAGE_NAME, overwrite=True)  # pyright: ignore[reportGeneralTypeIssues]
    return block


def checkpoint_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """The place of a chunk's record: beside its answers, under its key."""
    del context
    engine: Engine = parameters["engine"]
    chunk: Chunk = parameters["chunk"]
    return f"{_folder_key(engine.store.storage.url)}/{chunk.key}.json"


def _folder_key(url: str) -> str:
    """The URL of a folder, or a digest of it if Prefect would store a secret with it."""
    if (shown := public_url(url)) == url:
        return url
    key = f"{shown}#{blake2b(url.encode(), digest_size=4).hexdigest()}"
    _REAL_URLS[key] = url
    return key
