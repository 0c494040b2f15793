"""A reader of the plain folder while versions are published over each other, some of which are killed on the way."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import promptmill.output.publishing as publishing
from promptmill.errors import OutputError
from promptmill.output.manifest import Manifest, PartInfo, read_manifest
from promptmill.provider.transport import Credentials
from promptmill.runs import publish as run_publish
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.engine import Engine
from promptmill.runs.run import FinishedRun, PendingRun, Planning, answering, plan_pending_run, publish_run
from promptmill.storage import Storage
from tests.support.jobs import TODAY, MakeJob, carry_out, plan, plan_any

ROWS = 60
STEPS = (
    "begin_upload",
    "begin_publishing",
    "publish_side_by_side",
    "render_report",
    "write_manifest",
    "settle_publishing",
)


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


class Reader:
    """Reads a folder as others do, again and again; `counts` are (seconds, rows that it found)."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._stop = threading.Event()
        self.counts: list[tuple[float, int]] = []
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._stop.is_set():
            with suppress(FileNotFoundError):  # a part was removed since the folder was listed
                self.counts.append((time.monotonic(), len(rows_of(self._storage))))
            self._stop.wait(0.02)

    def longest_shortfall(self, least: int) -> float:
        """The longest time in which it saw fewer rows, once it had seen them all."""
        seen = [at for at, (_, rows) in enumerate(self.counts) if rows >= least]
        worst, since = 0.0, None
        for moment, rows in self.counts[seen[0] :]:
            since = None if rows >= least else (moment if since is None else since)
            worst = max(worst, 0.0 if since is None else moment - since)
        return worst


def rows_of(storage: Storage) -> list[str]:
    """The custom_ids that a reader of the plain folder finds."""
    names = [path for path in storage.fs.ls(storage.root, detail=False) if path.rsplit("/", 1)[-1].startswith("part-")]
    found: list[str] = []
    for path in names:
        with storage.fs.open(path, "rb") as file:
            found += pq.read_table(file, columns=["llm_custom_id"])["llm_custom_id"].to_pylist()
    return found


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An output's folder on a local disk, and on a real S3 server."""
    if request.param == "local":
        return str(tmp_path / "out")
    return request.getfixturevalue("s3_folder")


async def answered(
    make_job: MakeJob, credentials: Credentials, folder: str, **changes: Any
) -> tuple[PendingRun, Engine]:
    """A run that has answered every row and published none."""
    job = make_job(ROWS, output={"url": folder, "part_bytes": 3_000}, **changes)
    run = plan_pending_run(job, credentials, Planning(TODAY))

    async def reuse(*_: object) -> None: ...

    async with answering(run) as engine:
        await drive_chunks(engine, reuse, complete_chunk)
    return run, engine


@contextmanager
def killed_at(step: str, after: bool) -> Iterator[None]:
    """Have a step of publishing die before it, or when it is done; half way where it publishes parts."""
    with pytest.MonkeyPatch.context() as patch:
        real: Callable[..., Any] = getattr(run_publish, step)

        def dies(*arguments: Any, **named: Any) -> None:
            if step == "publish_side_by_side":
                arguments = (arguments[0][: None if after else 2],)
                real(*arguments, **named)
            elif step == "settle_publishing" and arguments[1] is None:
                return  # the cleaning before the first publishing
            elif after:
                real(*arguments, **named)
            raise Killed

        patch.setattr(run_publish, step, dies)
        yield


async def test_a_reader_never_sees_fewer_rows_than_a_version_has_and_no_row_twice_after_the_next_command(
    make_job: MakeJob, credentials: Credentials, folder: str
) -> None:
    rounds, kills = (50, 20) if "://" not in folder else (8, 4)
    chance = random.Random(7)
    killed = set(chance.sample(range(1, rounds), kills))
    run, engine = await answered(make_job, credentials, folder)
    storage = run.prepared.output
    with Reader(storage) as reader:
        for number in range(rounds):
            if number in killed:
                with pytest.raises(Killed), killed_at(chance.choice(STEPS), chance.random() < 0.5):
                    await publish_run(run, engine)
            else:
                await publish_run(run, engine)
            if number in killed:
                assert isinstance(plan_any(run.prepared.job, credentials), FinishedRun)
                assert len(rows_of(storage)) == len(set(rows_of(storage))) == ROWS

    assert len(read_manifest(storage).parts) == 3  # pyright: ignore[reportOptionalMemberAccess]
    assert reader.counts
    assert reader.longest_shortfall(ROWS) < 5
    assert not [name for name in storage.sizes() if "_publishing" in name]
    assert not list(Path(folder).glob("_writing-*")) if "://" not in folder else True


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_a_first_publishing_killed_at_any_step_is_finished_by_the_next_command(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path, step: str, after: bool
) -> None:
    run, engine = await answered(make_job, credentials, str(tmp_path / "out"))
    with suppress(Killed), killed_at(step, after):
        await publish_run(run, engine)
    manifest = await carry_out(run.prepared.job, credentials)

    assert (manifest.requests_sent, manifest.rows) == (0, ROWS)
    assert len(rows_of(run.prepared.output)) == ROWS
    assert not (tmp_path / "out" / "_publishing.json").exists()


def _manifest(*names: str) -> Manifest:
    from tests.promptmill.output.test_parts import finished

    return finished([PartInfo(name, 1, 1) for name in names])


def test_only_parts_that_are_known_to_be_ours_are_removed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    old, new, foreign = (f"part-0123abcd-0000{number}.parquet" for number in range(3))
    for name in (old, new, foreign, "part-mine.parquet"):
        storage.write(name, b"x")
    publishing.begin_publishing(storage, _manifest(old), [new])

    publishing.settle_publishing(storage, _manifest(new))

    assert set(storage.sizes()) == {new, foreign, "part-mine.parquet"}
    assert publishing.unlisted_parts(storage.sizes(), _manifest(new)) == [foreign]


def test_what_another_process_publishes_right_now_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    name = "part-0123abcd-00000.parquet"
    storage.write(name, b"x")
    monkeypatch.setattr(publishing, "this_process", lambda: "elsewhere:1")
    publishing.begin_publishing(storage, None, [name])
    publishing.settle_publishing(storage, None)
    assert name in storage.sizes()
    monkeypatch.setattr(publishing, "_PUBLISHING_SECONDS", 0.0)
    publishing.settle_publishing(storage, None)

    assert storage.sizes() == {}


def test_a_report_that_is_not_ours_is_refused_before_anything_is_sent(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_report.html").write_text("<h1>The quarterly report</h1>")

    with pytest.raises(OutputError, match=r"_report\.html wasn't written by Promptmill.*Move the file"):
        plan(make_job(3), credentials)
