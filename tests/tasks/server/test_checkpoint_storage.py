"""Records of chunks: Prefect reads ours, and nothing that anybody else put in their place is executed."""

import base64
import json
import lzma
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import cloudpickle
import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer, PickleSerializer

from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tasks.server.checkpoint_storage import SERIALIZER, SERIALIZER_FIELDS, CheckpointStorage, checkpoint_key
from tests.support.jobs import MakeJob

RESULT = {"key": "abc", "rows": 3}
BLOCK_ID = uuid4()


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


def record(result: object, serializer: object = SERIALIZER_FIELDS, **metadata: object) -> bytes:
    """A record as Prefect writes it, with a serializer and other metadata of one's choice."""
    known = {"storage_key": None, "expiration": None, "prefect_version": "3.8.8", "storage_block_id": None}
    return json.dumps({"metadata": {**known, "serializer": serializer, **metadata}, "result": result}).encode()


def pickled(marker: Path, library: Any = pickle) -> str:
    """What the pickle serializer keeps."""
    return base64.encodebytes(library.dumps(Trap(marker))).decode()


def compressed(marker: Path) -> str:
    """What the compressing serializer keeps."""
    return base64.encodebytes(lzma.compress(pickled(marker).encode())).decode()


def json_serializer(**changes: object) -> dict[str, object]:
    """Our serializer but for some fields."""
    return {**SERIALIZER_FIELDS, **changes}


PICKLE = {"type": "pickle", "picklelib": "pickle", "picklelib_version": None}
CLOUDPICKLE = PickleSerializer().model_dump(mode="json")
DECODER = "prefect.serializers.prefect_json_object_decoder"
EXECUTED: dict[str, Callable[[Path], bytes]] = {  # Prefect alone executes these
    "pickle": lambda marker: record(pickled(marker), PICKLE),
    "cloudpickle": lambda marker: record(pickled(marker, cloudpickle), CLOUDPICKLE),
    "the serializer left out, which means cloudpickle": lambda marker: json.dumps(
        {"metadata": {"expiration": None}, "result": pickled(marker)}
    ).encode(),
    "compressed pickle": lambda marker: record(compressed(marker), {"type": "compressed/pickle"}),
    "compressed, around a pickle": lambda marker: record(
        compressed(marker), {"type": "compressed", "compressionlib": "lzma", "serializer": PICKLE}
    ),
    "a decoder that is named": lambda _: record('{"marker": 1}', json_serializer(object_decoder="planted.decode")),
    "Prefect's decoder": lambda _: record('{"__class__": "planted.Model", "data": 1}', JSONSerializer().model_dump()),
    "the same by name": lambda _: record(
        '{"__class__": "planted.Model", "data": 1}', json_serializer(object_decoder=DECODER)
    ),
    "a library of JSON": lambda _: record("{}", json_serializer(jsonlib="planted")),
    "an older record, with its serializer outside": lambda marker: json.dumps(
        {
            "metadata": {"serializer": SERIALIZER_FIELDS, "expiration": None},
            "serializer": PICKLE,
            "data": pickled(marker),
        }
    ).encode(),
    "a second serializer outside": lambda marker: json.dumps(
        {**json.loads(record(pickled(marker))), "serializer": PICKLE}
    ).encode(),
    "a serializer named twice": lambda marker: (
        b'{"metadata": {"expiration": null, "serializer": %s, "serializer": %s}, "result": %s}'
        % tuple(json.dumps(one).encode() for one in (SERIALIZER_FIELDS, PICKLE, pickled(marker)))
    ),
}
REFUSED: dict[str, bytes] = {
    "an unknown serializer": record("{}", {"type": "no-such-serializer"}),
    "one more field in the serializer": record("{}", json_serializer(more=1)),
    "one field less": record("{}", {key: value for key, value in SERIALIZER_FIELDS.items() if key != "jsonlib"}),
    "other arguments": record("{}", json_serializer(loads_kwargs={"strict": False})),
    "a serializer that is no mapping": record("{}", "json"),
    "garbage": b"\x80\x04\x95 garbage",
    "nothing": b"",
    "a list": b"[1, 2]",
    "null": b"null",
    "metadata that are no mapping": json.dumps({"metadata": [], "result": "{}"}).encode(),
    "a result that is no text": record({"key": "abc"}),
    "a result that is no JSON": record("{"),
    "a result that is no mapping": record('"text"'),
    "an end that ours never have": record("{}", expiration="2999-01-01T00:00:00Z"),
    "JSON nested too deeply": b"[" * 200_000 + b"]" * 200_000,
    "a result nested too deeply": record('{"a":' * 100_000 + "1" + "}" * 100_000),
}


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What is there once anything planted was executed; `planted` is a module that makes it by all of its names."""
    marker = tmp_path / "executed"
    (tmp_path / "planted.py").write_text(f"open({str(marker)!r}, 'w').close()\nimport json\nloads = json.loads\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield marker
    sys.modules.pop("planted", None)


def store() -> ResultStore:
    """Prefect's results on our storage, as a chunk's task has them."""
    block = CheckpointStorage()
    block._block_document_id = BLOCK_ID
    return ResultStore(result_storage=block, serializer=SERIALIZER, cache_result_in_memory=False)


def context_of(folder: str) -> tuple[Any, dict[str, Any]]:
    """What Prefect gives `checkpoint_key` for a chunk whose answers are in this folder."""
    engine = SimpleNamespace(store=SimpleNamespace(storage=Storage(folder)))
    return None, {"engine": engine, "chunk": SimpleNamespace(key="abc")}


async def is_taken_for_none(folder: Path, data: bytes) -> bool:
    """Whether Prefect finds no record, both where it asks for one and where it reads."""
    path = folder / "planted.json"
    path.write_bytes(data)
    with pytest.raises(FileNotFoundError):
        await store().aread(str(path))
    return not await store().aexists(str(path))


async def test_prefect_finds_a_record_of_ours_and_what_it_holds(tmp_path: Path) -> None:
    key = f"{tmp_path}/abc.json"
    await store().awrite(RESULT, key)

    found = await store().aread(key)

    assert await store().aexists(key)
    assert (found.result, found.metadata.serializer) == (RESULT, SERIALIZER)
    assert (found.metadata.storage_key, found.metadata.storage_block_id) == (key, BLOCK_ID)
    assert found.metadata.expiration is None


async def test_prefect_is_told_no_secret_of_an_outputs_url_and_still_finds_its_records(tmp_path: Path) -> None:
    folders = [f"memory://{tmp_path.name}?token=s3cr3t{number}" for number in range(2)]
    keys = [checkpoint_key(*context_of(folder)) for folder in folders]
    await store().awrite(RESULT, keys[0])

    found = await store().aread(keys[0])

    assert "s3cr3t" not in "".join(keys)
    assert keys[0] != keys[1]
    assert (found.result, await store().aexists(keys[1])) == (RESULT, False)
    assert b"s3cr3t" not in Storage(folders[0]).read("abc.json")
    assert checkpoint_key(*context_of(str(tmp_path))) == f"{tmp_path}/abc.json"


@pytest.mark.parametrize("kind", EXECUTED)
async def test_prefect_alone_would_execute_what_is_planted_here(kind: str, tmp_path: Path, marker: Path) -> None:
    (tmp_path / "planted.json").write_bytes(EXECUTED[kind](marker))

    await ResultStore(result_storage=LocalFileSystem(basepath=str(tmp_path))).aexists("planted.json")

    assert marker.exists()


@pytest.mark.parametrize("kind", EXECUTED)
async def test_what_would_run_code_counts_as_no_record_and_runs_none(kind: str, tmp_path: Path, marker: Path) -> None:
    assert await is_taken_for_none(tmp_path, EXECUTED[kind](marker))
    assert not marker.exists()


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_no_record_of_ours_counts_as_none(kind: str, tmp_path: Path) -> None:
    assert await is_taken_for_none(tmp_path, REFUSED[kind])


async def test_a_record_sends_prefect_nowhere_else(tmp_path: Path) -> None:
    """Prefect tells its server where a result lies, and reads it there when asked."""
    path = tmp_path / "abc.json"
    path.write_bytes(record(json.dumps(RESULT), storage_key="/elsewhere/pickle", storage_block_id=str(uuid4())))

    found = await store().aread(str(path))

    assert found.result == RESULT
    assert (found.metadata.storage_key, found.metadata.storage_block_id) == (str(path), BLOCK_ID)


async def test_a_pickle_in_place_of_a_record_is_not_executed_by_a_run_which_records_the_chunk_again(
    prefect: str, make_job: MakeJob, simulator: Simulator, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test-key")
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    from flows.online_inference import online_inference

    job = make_job(25, name="planted")
    await online_inference(job=job)
    records = sorted(Path(job.output.url, "_checkpoints").glob("*.json"))
    ours = {path: path.read_bytes() for path in records if b'"serializer"' in path.read_bytes()}
    for path in ours:
        path.write_bytes(record(pickled(marker), PICKLE))
    Path(job.output.url, "_manifest.json").unlink()
    manifest = await online_inference(job=job)

    assert len(ours) == 3
    assert not marker.exists()
    assert (manifest["rows"], manifest["reused"], manifest["requests_sent"]) == (25, 25, 0)
    assert simulator.ledger()["totals"]["requests"] == 25
    for path, before in ours.items():
        again, first = (json.loads(json.loads(data)["result"]) for data in (path.read_bytes(), before))
        assert (again["key"], again["rows"]) == (first["key"], first["rows"])
        assert json.loads(path.read_bytes())["metadata"]["serializer"] == SERIALIZER_FIELDS
