"""Damaged or exchanged answer files: never a wrong answer, never a traceback, and one line about it."""

import logging
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptmill
from promptmill.checkpoints.answer_files import answers_table, decode_answers, encode_answers
from promptmill.errors import CheckpointUnreadable, StorageFailed
from promptmill.planning.plan import needed_columns
from promptmill.provider.transport import Credentials
from promptmill.records import Completion, Usage
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.run import answering, publish_run
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, carry_out, plan


def answers(rows: int = 12) -> pa.Table:
    """Answers of some rows."""
    return answers_table(
        [
            Completion(
                f"{n:032x}-{n:08x}", f"answer {n}", None, "m", "stop", Usage(n, 0, 1), Decimal(n), 0.1, 1, "i", 1.0
            )
            for n in range(rows)
        ]
    )


TABLE = answers()
DATA = encode_answers(TABLE)


def test_an_answer_file_comes_back_as_it_was_written() -> None:
    assert decode_answers(DATA).equals(TABLE)
    assert decode_answers(DATA, ["cost_usd"]) == TABLE.select(["cost_usd"])


@given(at=st.integers(0, len(DATA) - 1), flip=st.integers(1, 255))
def test_a_changed_byte_anywhere_never_changes_an_answer(at: int, flip: int) -> None:
    data = bytearray(DATA)
    data[at] ^= flip
    try:
        found = decode_answers(bytes(data))
    except CheckpointUnreadable:
        return

    assert found.equals(TABLE)  # the byte said nothing of an answer, as in the name of the digest


@given(size=st.integers(0, len(DATA) - 1))
def test_a_torn_file_is_unreadable(size: int) -> None:
    with pytest.raises(CheckpointUnreadable):
        decode_answers(DATA[:size])


async def test_exchanged_chunk_files_are_asked_again_and_told_in_one_line(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(40)
    await carry_out(job, credentials)
    before = promptmill.read(job.output.url)
    Path(job.output.url, "_manifest.json").unlink()
    first, second, torn, _ = sorted(Path(job.output.url, "_checkpoints").glob("*.parquet"))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    torn.write_bytes(torn.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, "promptmill"):
        manifest = await carry_out(job, credentials)

    same = ["text", "llm_custom_id", "response"]
    assert promptmill.read(job.output.url)[same].equals(before[same])
    assert (manifest.requests_sent, manifest.reused) == (30, 10)
    (line,) = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert line.startswith("3 answer files in ")


async def test_a_chunk_file_that_is_gone_at_publishing_ends_the_run_with_what_to_do(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    job = make_job(30)
    run = plan(job, credentials)

    async def reuse(*_: object) -> None: ...

    async with answering(run) as engine:
        await drive_chunks(engine, reuse, complete_chunk)
    sorted(Path(job.output.url, "_checkpoints").glob("*.parquet"))[1].unlink()
    with pytest.raises(StorageFailed, match=r"the answers of rows .* are gone: .* is missing\. .*Run the same command"):
        await publish_run(run, engine)
    assert not Path(job.output.url, "_manifest.json").exists()
    manifest = await carry_out(job, credentials)

    assert (manifest.requests_sent, manifest.succeeded) == (10, 30)
    assert simulator.ledger()["totals"]["requests"] == 40


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(RuntimeError("an odd storage"), "RuntimeError: an odd storage", id="odd-error"),
        pytest.param(KeyError("x"), "KeyError", id="key-error"),
        pytest.param(None, "don't fit the answer file", id="answers-that-do-not-fit"),
    ],
)
async def test_any_failure_of_the_store_releases_waiting_rows_and_ends_the_chunk(
    make_job: MakeJob,
    credentials: Credentials,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception | None,
    expected: str,
) -> None:
    job = make_job(30, chunk_rows=30, checkpoint_rows=2, limits={"max_concurrency": 8})
    run = plan(job, credentials)
    _spoil(monkeypatch, fault)
    async with answering(run) as engine:
        table = next(engine.dataset.read(30, needed_columns(engine.builder, job)))
        with pytest.raises(promptmill_errors(fault), match=expected):
            await complete_chunk(engine, engine.plan.chunks[0], table)


def promptmill_errors(fault: Exception | None) -> type[Exception]:
    """The error that a run ends with."""
    from promptmill.errors import RunStopped

    return RunStopped if fault is None else StorageFailed


def _spoil(monkeypatch: pytest.MonkeyPatch, fault: Exception | None) -> None:
    """Have saving raise an error, or an answer hold a number that no file can."""
    from dataclasses import replace

    import promptmill.runs.chunk_sending as chunk
    from promptmill.checkpoints.store import Store

    if fault is None:
        real = chunk.complete_request

        async def too_large(*arguments: object, **options: object) -> object:
            return replace(await real(*arguments, **options), attempts=2**40)  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(chunk, "complete_request", too_large)
        return

    def fail(*_: object) -> str:
        raise fault

    monkeypatch.setattr(Store, "save_rows", fail)
