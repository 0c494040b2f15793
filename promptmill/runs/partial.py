"""The answers that there are while a run is under way, or after one that ended early, beside the rows that they belong to.

The answers lie in files that a run adds to and replaces, each with a digest of its own. So this reads the input once more,
renders each row, and looks its answer up: what was answered for an earlier prompt, or is torn, isn't taken. A file that
vanished meanwhile was replaced by a newer one, which is looked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.checkpoints.answer_files import ANSWERS, REQUEST_DIGEST_CHARACTERS
from promptmill.checkpoints.index import AnswerIndex
from promptmill.checkpoints.store import Store
from promptmill.column_casts import cast_column
from promptmill.column_types import filter_rows
from promptmill.output.columns import FAILURE_COLUMNS, output_schema, success_columns
from promptmill.planning.chunk_size import USUAL_ROWS
from promptmill.planning.plan import Unrendered
from promptmill.planning.prepared_job import Prepared
from promptmill.planning.rendering import needed_columns, render_table, row_ids
from promptmill.runs.shared_answers import taken_answer

_LOOKS = 3  # at the files, for rows whose answer was there and is not


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring rows of the input."""

    rows: int  # of the input
    failed: int  # of them
    answered: pa.Table  # those that succeeded, with the columns of the output


def answered_pieces(prepared: Prepared) -> Iterator[Piece]:
    """The input piece by piece, in its order, with the answers that there are now. Raises: DatasetError, StorageFailed."""
    answers = _Answers(prepared.store, shares=not prepared.job.request.answer_each_row)
    columns = {*needed_columns(prepared.builder, prepared.job), *prepared.dataset.carried}
    start = 0
    for table in prepared.dataset.pieces(USUAL_ROWS, columns):
        numbers = range(start, start + table.num_rows)
        ids = row_ids(table, prepared.job.input.id_column, numbers)
        rendered = render_table(prepared.builder, table, ids, start)
        places, found = answers.of(
            [row.custom_id for row in rendered], [isinstance(row, Unrendered) for row in rendered]
        )
        rows = table if prepared.job.input.id_column is not None else _numbered(prepared, table, numbers)
        succeeded = found["kind"].is_null()
        yield Piece(
            table.num_rows,
            found.num_rows - (pc.sum(succeeded).as_py() or 0),
            _as_output(prepared, filter_rows(rows.take(places), succeeded), found.filter(succeeded)),
        )
        start += table.num_rows


def no_rows(prepared: Prepared) -> pa.Table:
    """The columns of the output."""
    return _schemas(prepared)[0].empty_table()


@dataclass(slots=True)
class _Answers:
    """Answers by rows, while a run adds to them."""

    store: Store
    shares: bool  # rows with equal requests take one answer
    _index: AnswerIndex = field(init=False)
    _givers: dict[str, str] = field(default_factory=dict[str, str])  # digest of a request → row that has its answer

    def __post_init__(self) -> None:
        self._index = self._look()

    def of(self, order: Sequence[str], unsent: Sequence[bool]) -> tuple[pa.Array, pa.Table]:
        """The places of the rows that have an answer, and their answers, in the order of the rows."""
        found = self._find(order)
        rows = {custom_id: place for place, custom_id in enumerate(cast(list[str], found["custom_id"].to_pylist()))}
        taken: list[dict[str, Any]] = []
        places: list[int] = []
        chosen: list[int] = []
        for place, custom_id in enumerate(order):
            digest = custom_id[:REQUEST_DIGEST_CHARACTERS]
            if custom_id in rows:
                chosen.append(rows[custom_id])
                self._givers.setdefault(digest, custom_id)
            elif self.shares and not unsent[place] and (given := self._given(digest)) is not None:
                chosen.append(found.num_rows + len(taken))
                taken.append(taken_answer(custom_id, given))
            else:
                continue
            places.append(place)
        whole = pa.concat_tables([found, pa.Table.from_pylist(taken, schema=ANSWERS)])
        return pa.array(places, pa.int64()), whole.take(pa.array(chosen, pa.int64()))

    def _given(self, digest: str) -> dict[str, Any] | None:
        giver = self._givers.get(digest)
        found = [] if giver is None else self._find([giver]).to_pylist()
        return found[0] if found else None

    def _find(self, order: Sequence[str]) -> pa.Table:
        found = self._index.find(order)
        for _ in range(_LOOKS):
            if found.num_rows >= int(self._index.holds(order).sum()):
                break
            self._index = self._look()
            found = self._index.find(order)
        return found

    def _look(self) -> AnswerIndex:
        return AnswerIndex(self.store, [name for name in self.store.listing().sizes if name.endswith(".parquet")])


def _numbered(prepared: Prepared, rows: pa.Table, numbers: Sequence[int]) -> pa.Table:
    return rows.add_column(0, prepared.names.row_index, pa.array(numbers, pa.int64()))


def _schemas(prepared: Prepared) -> tuple[pa.Schema, pa.Schema]:
    definitions = prepared.schema.definitions if prepared.schema else {}
    return output_schema(prepared.job, prepared.dataset, prepared.properties, definitions)


def _as_output(prepared: Prepared, rows: pa.Table, answers: pa.Table) -> pa.Table:
    """Succeeded rows as a part would have them."""
    success, failure = _schemas(prepared)
    carried = failure.names[: -len(FAILURE_COLUMNS)]
    columns = [cast_column(rows[name], success.field(name).type) for name in carried]
    ours = success_columns(answers, list(success)[len(carried) :], [*prepared.properties])
    return pa.table([*columns, *ours.columns], schema=success)
