"""Credentials of the storage that expire in the middle of a run: renewed where there are others, else nothing is lost."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3fs

from promptmill.checkpoints import saver
from promptmill.checkpoints.answer_files import answers_table, encode_answers
from promptmill.checkpoints.set_aside import SetAside
from promptmill.checkpoints.store import Store
from promptmill.errors import StorageFailed
from promptmill.job.spec import Job
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from promptmill.storage import Storage
from tests.support.billing import billed
from tests.support.jobs import MakeJob, carry_out
from tests.support.memory_s3 import MemoryS3, memory_s3


class Bucket:
    """A bucket, and the credentials file that opens it."""

    def __init__(self, server: MemoryS3, file: Path) -> None:
        self.server, self._file = server, file
        self.sign_with("FIRST")

    def sign_with(self, key: str) -> None:
        """Write another key into the credentials file."""
        self._file.write_text(
            f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\naws_session_token = t\n"
        )


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket `lake`, opened by a credentials file that names the key FIRST."""
    with memory_s3() as (server, address):
        file = tmp_path / "credentials"
        settings = {
            "AWS_SHARED_CREDENTIALS_FILE": str(file),
            "AWS_ENDPOINT_URL": address,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield Bucket(server, file)
        s3fs.S3FileSystem.clear_instance_cache()


def test_every_kind_of_request_goes_on_with_renewed_credentials(bucket: Bucket):
    storage = Storage("s3://lake/out")
    storage.write("a", b"before")
    requests: list[tuple[str, Callable[[], object]]] = [
        ("ExpiredToken", lambda: storage.read("a")),
        ("InvalidAccessKeyId", storage.sizes),
        ("TokenRefreshRequired", lambda: storage.create("b", b"after")),
        ("ExpiredToken", lambda: storage.fs.exists(storage.path("a"))),  # HEAD, whose refusal has no code
    ]
    for number, (code, request) in enumerate(requests):
        bucket.server.code = code
        bucket.server.expired |= {"FIRST", f"KEY{number - 1}"}
        bucket.sign_with(f"KEY{number}")
        request()

    assert bucket.server.refused == len(requests)
    assert storage.sizes() == {"a": 6, "b": 5}


def test_a_request_with_credentials_that_nobody_renewed_is_not_sent_again(bucket: Bucket):
    storage = Storage("s3://lake/out")
    storage.write("a", b"before")
    bucket.server.expired = {"FIRST"}

    for _ in range(3):
        with pytest.raises(PermissionError, match="expired"):
            storage.sizes()
    assert bucket.server.refused == 3


@pytest.mark.parametrize("code", ["InvalidArgument", "NotImplemented", "AuthorizationHeaderMalformed"])
def test_a_storage_that_refuses_checksums_is_written_without_them(code: str, bucket: Bucket):
    bucket.server.checksum_code = code
    bucket.server.objects["out/before"] = b"there"
    storage = Storage("s3://lake/out")
    assert storage.read("before") == b"there"
    storage.write("a", b"whole")
    file = storage.open_unpublished("b")
    file.stream.write(b"in parts")
    file.publish()

    assert (storage.read("a"), storage.read("b")) == (b"whole", b"in parts")
    assert bucket.server.refused == 1


async def test_a_run_goes_on_with_credentials_that_are_renewed_in_its_middle(
    bucket: Bucket, make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
):
    expire_after(2, bucket, monkeypatch, renewed="SECOND")
    manifest = await carry_out(in_bucket(make_job), credentials)

    assert bucket.server.refused > 0
    assert (manifest.succeeded, billed(simulator, "default")) == (40, 40)


async def test_answers_that_the_storage_refuses_are_kept_here_and_stored_by_the_next_run(
    bucket: Bucket, make_job: MakeJob, credentials: Credentials, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(saver, "_RETRY_SECONDS", 0.01)
    expire_after(2, bucket, monkeypatch, renewed=None)
    job = in_bucket(make_job)
    with pytest.raises(
        StorageFailed, match=r"expired.* answers are paid for and not stored yet; .*Run the same command"
    ):
        await carry_out(job, credentials)
    sent = billed(simulator, "default")
    bucket.sign_with("SECOND")
    s3fs.S3FileSystem.clear_instance_cache()
    manifest = await carry_out(job, credentials)

    assert 0 < sent < 40
    assert (manifest.succeeded, billed(simulator, "default")) == (40, 40)
    assert not SetAside(Store(Storage("s3://lake/out/_checkpoints"))).folder.exists()


def test_a_damaged_file_is_left_alone_and_no_other_is_lost(tmp_path: Path):
    store = Store(Storage(str(tmp_path / "_checkpoints")))
    aside = SetAside(store)
    aside.keep("a", encode_answers(answers_table([])))
    aside.keep("b", b"torn")
    aside.bring_back()

    assert len(store.listing().unfinished["a"]) == 1
    assert [path.read_bytes() for path in aside.folder.iterdir()] == [b"torn"]


def in_bucket(make_job: MakeJob) -> Job:
    """A job of 40 rows whose output lies in the bucket."""
    limits = {"max_concurrency": 2}
    return make_job(
        40, chunk_rows=20, chunks_in_flight=1, checkpoint_rows=4, limits=limits, output__url="s3://lake/out"
    )


def expire_after(saves: int, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, renewed: str | None) -> None:
    """Let the key expire once so many files of answers are saved."""
    save_rows, saved = Store.save_rows, list[str]()

    def save(self: Store, key: str, answers: object) -> str:
        if len(saved) == saves:
            bucket.server.expired = {"FIRST"}
            if renewed is not None:
                bucket.sign_with(renewed)
        saved.append(key)
        return save_rows(self, key, answers)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Store, "save_rows", save)
