"""A cache of answers by itself: what is found in it, how it is merged, and many writers at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.cache.entries import Digests, Source, digests_of, entries_of, sorted_once
from promptmill.cache.look_up import answers_of, look_up
from promptmill.cache.segments import CacheWriter, encode_segment, segments, write_segment
from promptmill.cache.upkeep import compact_if_scattered, prune, stats
from promptmill.checkpoints.answer_files import answers_table
from promptmill.records import Completion, Usage
from promptmill.storage import Storage
from tests.support.examples import examples

OPENAI = Source("https://api.openai.com", "chat.completions")
EVER = float("-inf")


def answer(number: int, text: str = "", at: float = 1.0) -> Completion:
    """The answer to request `number`."""
    return Completion(
        custom_id=f"{digest(number)}-{number:08x}",
        response=text or f"answer {number}",
        embedding=None,
        usage=Usage(10, 0, 5, 0),
        cost_usd=Decimal("0.001"),
        model="gpt-6-luna",
        latency_seconds=0.1,
        attempts=1,
        answered_at=at,
        finish_reason="stop",
        response_id=f"chatcmpl-{number}",
    )


def digest(number: int) -> str:
    """32 hex that are spread over all digests."""
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def entries(numbers: list[int], source: Source = OPENAI, text: str = "", at: float = 1.0) -> pa.Table:
    return entries_of(answers_table([answer(number, text, at) for number in numbers]), source, "job today")


def wanted(numbers: list[int]) -> Digests:
    values = sorted(int(digest(number), 16) for number in set(numbers))
    high, low = ([value >> 64 for value in values], [value % 2**64 for value in values])
    return Digests(np.array(high, np.uint64), np.array(low, np.uint64))


def found(storage: Storage, numbers: list[int], source: Source = OPENAI, oldest: float = EVER) -> dict[str, str]:
    """Digest → answer, for what the cache has of these requests."""
    digests = wanted(numbers)
    hits = look_up(storage, digests, source, oldest)

    def ids(places: object) -> list[str]:
        return [f"{digests.high[at]:016x}{digests.low[at]:016x}-00000000" for at in cast(list[int], places)]

    tables = list(answers_of(storage, hits, digests, ids))
    return {row["custom_id"][:32]: row["response"] for table in tables for row in table.to_pylist()}


@pytest.fixture(params=["local", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty folder on each kind of storage."""
    if request.param == "local":
        return Storage(str(tmp_path / "cache"), None)
    return Storage(request.getfixturevalue("s3_folder") if request.param == "s3" else f"memory://{tmp_path.name}", None)


def test_a_cache_answers_only_requests_whose_answers_it_holds(storage: Storage) -> None:
    write_segment(storage, entries([*range(0, 500, 2)]))
    write_segment(storage, entries([*range(0, 900, 3)]))

    answers = found(storage, [*range(1_000)])

    numbers = {
        number for number in range(1_000) if (number < 500 and number % 2 == 0) or (number < 900 and number % 3 == 0)
    }
    assert answers == {digest(number): f"answer {number}" for number in numbers}


def test_the_newest_answer_is_taken_and_none_of_another_place(storage: Storage) -> None:
    write_segment(storage, entries([1, 2], text="old", at=10.0))
    write_segment(storage, entries([2, 3], text="new", at=20.0))
    write_segment(storage, entries([1, 2, 3], Source("http://localhost:8000", "chat.completions"), "elsewhere", 30.0))
    write_segment(storage, entries([1, 2, 3], Source("https://api.openai.com", "responses"), "otherwise", 30.0))

    assert found(storage, [1, 2, 3]) == {digest(1): "old", digest(2): "new", digest(3): "new"}
    assert found(storage, [1, 2, 3], oldest=15.0) == {digest(2): "new", digest(3): "new"}


def test_many_writers_and_a_merging_lose_no_answer(storage: Storage) -> None:
    def write(part: int) -> None:
        writer = CacheWriter(storage, OPENAI, "a job", wanted([]))
        for start in range(part * 100, part * 100 + 100, 10):
            writer.add(answers_table([answer(number) for number in range(start, start + 10)]))
            writer.flush()
        compact_if_scattered(storage)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    done = prune(storage, EVER)

    assert found(storage, [*range(800)]) == {digest(number): f"answer {number}" for number in range(800)}
    assert (done.kept, len(segments(storage))) == (800, 1)
    assert stats(storage).entries == 800


def test_pruning_drops_old_answers_and_names_unreadable_segments(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    write_segment(storage, entries([*range(10)], at=10.0))
    write_segment(storage, entries([*range(5, 15)], at=20.0))
    storage.write("torn.parquet", encode_segment(entries([99]))[:200])
    done = prune(storage, 15.0)
    counted = stats(storage)

    assert (done.kept, done.dropped) == (10, 10)
    assert found(storage, [*range(20)]) == {digest(number): f"answer {number}" for number in range(5, 15)}
    assert "torn.parquet" in caplog.text
    assert (counted.entries, counted.segments, counted.first, counted.last) == (10, 1, 20.0, 20.0)
    assert counted.unreadable == ["torn.parquet"]


def test_vectors_come_back_as_they_were(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path), None)
    vectors = [replace(answer(number), response=None, embedding=[0.1 * number, -1.0, 1e-30]) for number in range(5)]
    write_segment(storage, entries_of(answers_table(vectors), OPENAI, "a job"))
    digests = wanted([*range(5)])
    [table] = answers_of(storage, look_up(storage, digests, OPENAI, EVER), digests, lambda places: ["x"] * len(places))

    assert sorted(table["embedding"].to_pylist()) == sorted(answers_table(vectors)["embedding"].to_pylist())


@given(numbers=st.lists(st.tuples(st.integers(0, 30), st.sampled_from([1.0, 2.0, 3.0])), max_size=40))
@settings(max_examples=examples(100), deadline=None)
def test_a_segment_has_each_request_once_in_order_with_its_newest_answer(numbers: list[tuple[int, float]]) -> None:
    parts = [entries([number], text=f"{number} at {at}", at=at) for number, at in numbers]
    table = sorted_once(pa.concat_tables([entries([]), *parts]))
    digests = digests_of(table["digest"])
    newest = {digest(number): max(at for other, at in numbers if other == number) for number, _ in numbers}

    assert (
        dict(zip(map(bytes.hex, table["digest"].to_pylist()), table["answered_at"].to_pylist(), strict=True)) == newest
    )
    assert [*zip(digests.high.tolist(), digests.low.tolist(), strict=True)] == sorted(
        zip(digests.high.tolist(), digests.low.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    "unusable",
    [
        pytest.param(lambda table: table.set_column(1, "kind", pa.array(["timeout"])), id="failure"),
        pytest.param(lambda table: table.set_column(4, "response", pa.array([""])), id="empty-text"),
        pytest.param(lambda table: taken(table, "answered_by"), id="of-another-row"),
        pytest.param(lambda table: taken(table, "cached_from"), id="of-a-cache"),
    ],
)
def test_only_answers_that_were_paid_for_become_entries(unusable: Callable[[pa.Table], pa.Table]) -> None:
    table = answers_table([answer(1)])

    assert entries_of(table, OPENAI, "a job").num_rows == 1
    assert entries_of(unusable(table), OPENAI, "a job").num_rows == 0


def taken(table: pa.Table, column: str) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(["0" * 32]))


def test_a_look_up_reads_only_the_row_groups_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptmill.cache.segments._GROUP_ROWS", 100)
    storage = Storage(str(tmp_path), None)
    write_segment(storage, entries([*range(2_000)]))
    read: list[int] = []
    read_row_group = pq.ParquetFile.read_row_group

    def note(self: pq.ParquetFile, group: int, *arguments: object) -> pa.Table:
        read.append(group)
        return read_row_group(self, group, *arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", note)

    assert len(found(storage, [7])) == 1
    assert len(read) == 3  # its digests, where they came from, and its answer
    assert len(set(read)) == 1
