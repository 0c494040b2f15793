"""Answers that other rows take, held from the row that got one to the last row that takes it, while a run publishes.

Rows come in input order, and the row that asked comes first. The answers lie in SQLite's own temporary database, which
leaves memory for the disk once it grows.
"""

import sqlite3
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, cast

import numpy as np
import orjson
import pyarrow as pa

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ANSWERS, REQUEST_DIGEST_CHARACTERS, ZERO_USD
from promptmill.errors import CheckpointUnreadable
from promptmill.planning.plan import Chunk
from promptmill.temporary_database import temporary_database

_TAKEN = (
    "kind",
    "message",
    "http_status",
    "response",
    "embedding",
    "model",
    "finish_reason",
    "response_id",
    "confidence",
)
_AT_ONCE = 500  # digests looked up by one statement


class SharedAnswers:
    """The answers that others take; for one thread."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("CREATE TABLE given (digest TEXT PRIMARY KEY, answer BLOB) WITHOUT ROWID")

    def whole(self, chunk: Chunk, answers: pa.Table) -> pa.Table:
        """The answers of a chunk's rows, those that they take from earlier rows included.

        Call it for each chunk in order. Raises: CheckpointUnreadable when nobody answered the row that others take from.
        """
        if chunk.giving:
            self._keep(answers.filter(pa.array(chunk.givers)))
        is_taken = answers["answered_by"].is_valid()
        if not pc.any(is_taken, min_count=0).as_py():
            return answers
        taken = self._taken(answers.filter(is_taken))
        order = np.arange(answers.num_rows)
        order[is_taken.to_numpy(zero_copy_only=False)] = answers.num_rows + np.arange(taken.num_rows)
        return pa.concat_tables([answers, taken]).take(pa.array(order))

    def _keep(self, given: pa.Table) -> None:
        rows = given.select(["custom_id", "answered_at", *_TAKEN]).to_pylist()
        named = ((row["custom_id"][:REQUEST_DIGEST_CHARACTERS], orjson.dumps(row)) for row in rows)
        self._database.executemany("INSERT OR REPLACE INTO given VALUES (?, ?)", named)

    def _taken(self, references: pa.Table) -> pa.Table:
        """The answers that these rows take, in their order."""
        digests = cast(list[str], references["answered_by"].to_pylist())
        found = dict(self._given(sorted(set(digests))))
        missing = next((digest for digest in digests if digest not in found), None)
        if missing is not None:
            raise CheckpointUnreadable(f"no row answered the request {missing}, whose answer other rows take")
        ids = cast(list[str], references["custom_id"].to_pylist())
        rows = [taken_answer(custom_id, found[digest]) for custom_id, digest in zip(ids, digests, strict=True)]
        return pa.Table.from_pylist(rows, schema=ANSWERS)

    def _given(self, digests: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        for start in range(0, len(digests), _AT_ONCE):
            part = digests[start : start + _AT_ONCE]
            marks = ",".join("?" * len(part))
            for digest, answer in self._database.execute(
                f"SELECT digest, answer FROM given WHERE digest IN ({marks})",  # noqa: S608 - nothing but question marks
                part,
            ):
                yield digest, orjson.loads(answer)


def taken_answer(custom_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a row has that takes an answer: it cost nothing, and no attempt was made for it."""
    return {
        **{name: given[name] for name in (*_TAKEN, "answered_at")},
        "custom_id": custom_id,
        "answered_by": given["custom_id"],
        "input_tokens": 0,
        "cached_input_tokens": 0,
        "output_tokens": 0,
        "reasoning_tokens": 0,
        "usage_estimated": False,
        "cost_usd": ZERO_USD,
        "attempts": 0,
        "latency_seconds": None,
    }


@contextmanager
def shared_answers() -> Generator[SharedAnswers]:
    """A place for the answers that rows take from others; it is gone at the end of the block."""
    with closing(temporary_database()) as database:
        yield SharedAnswers(database)
