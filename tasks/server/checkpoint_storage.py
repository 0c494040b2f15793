"""Prefect results as checkpoints: a chunk's result is a small JSON record beside its answers, on the output's storage.

One block serves every output: its keys are whole URLs, so that any machine finds the checkpoints where the output is,
and it holds no credentials (fsspec reads them from the environment). Records are JSON and are never unpickled, since
whoever can write to the storage could otherwise run code here; Prefect's own JSON serializer would import any class a
record names, so the decoder is off.
Prefect only logs a result that it can't write and calls the task completed (prefect 3.8.8): the answers
themselves are therefore written by our own code, which raises, and a lost record costs a look at them and no money.
"""

from typing import Any

import anyio.to_thread
from prefect.context import TaskRunContext
from prefect.filesystems import WritableFileSystem
from prefect.serializers import JSONSerializer

from promptmill.planning.plan import Chunk
from promptmill.run.engine import Engine
from promptmill.storage import Storage

STORAGE_NAME = "promptmill-checkpoints"
SERIALIZER = JSONSerializer(object_encoder=None, object_decoder=None)


class CheckpointStorage(WritableFileSystem):
    """Checkpoints of all outputs; a key is the URL of its object."""

    _block_type_name = "Promptmill Checkpoints"
    _block_type_slug = "promptmill-checkpoints"
    _description = "Where Promptmill keeps the results of finished chunks: beside each output, on its own storage."

    async def read_path(self, path: str) -> bytes:
        """The object at a URL."""
        storage, name = _split(path)
        return await anyio.to_thread.run_sync(storage.read, name)

    async def write_path(self, path: str, content: bytes) -> None:
        """Publish an object at a URL, whole or not at all."""
        storage, name = _split(path)
        await anyio.to_thread.run_sync(storage.write, name, content)


def _split(url: str) -> tuple[Storage, str]:
    folder, _, name = url.rpartition("/")
    return Storage(folder), name


async def checkpoint_storage() -> CheckpointStorage:
    """The saved block, made where it doesn't exist yet."""
    block = CheckpointStorage()
    await block.save(STORAGE_NAME, overwrite=True)  # pyright: ignore[reportGeneralTypeIssues]
    return block


def checkpoint_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Where the record of a chunk lies: beside its answers, under its key."""
    del context
    engine: Engine = parameters["engine"]
    chunk: Chunk = parameters["chunk"]
    return f"{engine.store.storage.url}/{chunk.key}.json"
