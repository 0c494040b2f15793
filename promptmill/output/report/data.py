"""What the report shows of rows and answers, gathered chunk by chunk while a run publishes them.

However many rows there are, it holds counts, histograms, a timeline, ten rows and the worst failures of each kind, and it
clips texts as they come in. It draws the ten rows at random, with a fixed seed, from all that succeeded: the first ten of
a sorted input would be ten of a kind.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from promptmill.arrow import pc
from promptmill.cell_values import value_at
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.column_types import filter_rows
from promptmill.job.spec import Job
from promptmill.output.columns import ColumnNames, column_names
from promptmill.output.parsed_answers import ParsedAnswers, parse_object, parsed_successes
from promptmill.output.report.accuracy import Agreement, add_agreements
from promptmill.output.report.distributions import Distributions
from promptmill.output.report.histograms import Floats, LogHistogram, Timeline
from promptmill.output.report.wording import cell, property_cell, vector
from promptmill.shorten import shorten

_SAMPLES = 10
_WORST_FAILURES = 20  # kept of each kind
_SHOWN_COLUMNS = 8
_CELL_CHARACTERS = 800
_ANSWER_CHARACTERS = 1_500
_MESSAGE_CHARACTERS = 500
_REFUSED_CHARACTERS = 400
_SEED = 20


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A row and its answer, clipped."""

    row: str  # its id, or its number
    inputs: tuple[tuple[str, str], ...]  # column and value
    answer: tuple[tuple[str, str], ...]  # property and value; of an answer without properties, "" and the text


@dataclass(frozen=True, slots=True)
class _MistakenRow:
    """A row whose answer isn't the known one."""

    known: str
    answered: str
    sample: SampleRow


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row without an answer, clipped."""

    row: str
    message: str
    http_status: int | None
    attempts: int
    response: str | None


class ReportData:
    """Gathers what a report shows. Not for several threads at once."""

    def __init__(self, job: Job, started_at: datetime | None = None, names: ColumnNames | None = None) -> None:
        """`started_at` tells this run's answers from earlier ones, which the timeline leaves out."""
        names = column_names(job) if names is None else names
        self._id_column = names.row_index if job.input.id_column is None else job.input.id_column
        self._prompt = "\n".join(_texts(job.request.model_dump(include={"system", "user", "messages", "input"})))
        self._started_at = started_at.timestamp() if started_at is not None else 0.0
        self._random = np.random.default_rng(_SEED)
        self._drawn: list[
            tuple[float, SampleRow]
        ] = []  # the number drawn for a row, and the row; the least numbers stay
        self.rows = 0
        self.kinds: Counter[str] = Counter()
        self.earlier_cost_usd = ZERO_USD
        self.latency = LogHistogram(1e-3, 1e5)  # seconds, of rows that succeeded
        self.input_tokens = LogHistogram(1, 1e8)  # a row, of rows that succeeded
        self.output_tokens = LogHistogram(1, 1e8)
        self.timeline = Timeline()  # of this run
        self.distributions = Distributions(names.properties)
        self._properties = names.properties
        self.mistakes: dict[str, list[_MistakenRow]] = defaultdict(list)  # by answer column
        self.failures: dict[str, list[FailedRow]] = {}  # by kind, most attempts first
        self.agreements = [
            Agreement(answer, known, _key_of(answer, names)) for answer, known in (job.output.compare or {}).items()
        ]

    @property
    def samples(self) -> list[SampleRow]:
        """Ten succeeded rows, or as many as there are, in no order."""
        return [row for _, row in self._drawn]

    @property
    def accuracy(self) -> dict[str, Any] | None:
        """What the manifest says: answer column → input column, compared, correct, accuracy; None without `output.compare`."""
        return {agreement.answer_column: agreement.summary for agreement in self.agreements} or None

    def add(self, rows: pa.Table, answers: pa.Table, parsed: ParsedAnswers | None = None) -> None:
        """Take in rows with their answers: tables of equal length and order, every row answered.

        `parsed` are the answers that succeeded, where somebody else needs them parsed too.
        """
        parsed = parsed_successes(answers) if parsed is None else parsed
        self._add_timeline(answers)
        numbers = np.arange(self.rows, self.rows + rows.num_rows)
        succeeded = pc.is_null(answers["kind"])
        chosen = succeeded.to_numpy()
        if not chosen.all():
            self._add_failures(
                filter_rows(rows, pc.invert(succeeded)), answers.filter(pc.invert(succeeded)), numbers[~chosen]
            )
            rows, answers, numbers = filter_rows(rows, succeeded), answers.filter(succeeded), numbers[chosen]
        self.rows += len(chosen)
        self.latency.add(_floats(answers["latency_seconds"].drop_null()))
        self.input_tokens.add(_floats(answers["input_tokens"]))
        self.output_tokens.add(_floats(answers["output_tokens"]))
        for column, mistakes in add_agreements(self.agreements, rows, parsed).items():
            self.mistakes[column] += [
                _MistakenRow(mistake.known, mistake.answered, self._sample(rows, answers, numbers, mistake.place))
                for mistake in mistakes
            ]
        self.distributions.add(parsed)
        self._draw(rows, answers, numbers)

    def _add_timeline(self, answers: pa.Table) -> None:
        answered_at, cost = _floats(answers["answered_at"]), _floats(answers["cost_usd"].cast(pa.float64()))
        tokens = _floats(answers["input_tokens"]) + _floats(answers["output_tokens"])
        now = answered_at >= self._started_at
        self.earlier_cost_usd += Decimal(str(round(float(cost[~now].sum()), 12)))
        self.timeline.add(answered_at[now], _floats(answers["attempts"])[now], tokens[now], cost[now])

    def _add_failures(self, rows: pa.Table, answers: pa.Table, numbers: NDArray[np.int64]) -> None:
        kinds = cast(list[str], answers["kind"].to_pylist())
        self.kinds.update(kinds)
        attempts = _floats(answers["attempts"])
        for kind in dict.fromkeys(kinds):
            known = self.failures.get(kind, [])
            bound = known[-1].attempts if len(known) == _WORST_FAILURES else -1
            places = np.flatnonzero((np.array(kinds) == kind) & (attempts > bound))
            worst = places[np.argsort(-attempts[places], kind="stable")][:_WORST_FAILURES].tolist()
            found = [self._failed_row(rows, answers, numbers, place) for place in worst]
            self.failures[kind] = sorted([*known, *found], key=lambda row: -row.attempts)[:_WORST_FAILURES]

    def _failed_row(self, rows: pa.Table, answers: pa.Table, numbers: NDArray[np.int64], place: int) -> FailedRow:
        values = cast(dict[str, Any], answers.slice(place, 1).to_pylist()[0])
        response = values["response"]
        return FailedRow(
            row=self._name(rows, numbers, place),
            message=shorten(values["message"] or "", _MESSAGE_CHARACTERS),
            http_status=values["http_status"],
            attempts=values["attempts"],
            response=None if response is None else shorten(response, _REFUSED_CHARACTERS),
        )

    def _draw(self, rows: pa.Table, answers: pa.Table, numbers: NDArray[np.int64]) -> None:
        """Draw a number for each row, and keep the rows with the ten least numbers so far."""
        drawn = self._random.random(rows.num_rows)
        bound = self._drawn[-1][0] if len(self._drawn) == _SAMPLES else 1.0
        least = np.argsort(drawn)[:_SAMPLES].tolist()
        found = [(float(drawn[at]), self._sample(rows, answers, numbers, at)) for at in least if drawn[at] < bound]
        self._drawn = sorted([*self._drawn, *found], key=lambda pair: pair[0])[:_SAMPLES]

    def _sample(self, rows: pa.Table, answers: pa.Table, numbers: NDArray[np.int64], place: int) -> SampleRow:
        shown = self._shown_columns(rows.column_names)
        values = {name: value_at(rows[name], place) for name in shown}
        embedding = cast(list[float] | None, answers["embedding"][place].as_py())
        response = cast(str | None, answers["response"][place].as_py()) or ""
        return SampleRow(
            row=self._name(rows, numbers, place),
            inputs=tuple((name, cell(value, _CELL_CHARACTERS)) for name, value in values.items()),
            answer=self._fields(response) if embedding is None else (("", vector(embedding)),),
        )

    def _fields(self, response: str) -> tuple[tuple[str, str], ...]:
        """An answer by its properties; as it is where the job has no response schema."""
        if not self._properties:
            return (("", shorten(response, _ANSWER_CHARACTERS)),)
        parsed = parse_object(response)
        return tuple(
            (column, property_cell(parsed.get(name), _CELL_CHARACTERS)) for name, column in self._properties.items()
        )

    def _shown_columns(self, names: Sequence[str]) -> list[str]:
        """Columns that the prompt or the comparison uses come first; the title shows the id already."""
        compared = {agreement.known_column for agreement in self.agreements}
        asked = [name for name in names if name in compared or re.search(rf"\b{re.escape(name)}\b", self._prompt)]
        others = [name for name in names if name not in asked]
        return [name for name in [*asked, *others] if name != self._id_column or name in asked][:_SHOWN_COLUMNS]

    def _name(self, rows: pa.Table, numbers: NDArray[np.int64], place: int) -> str:
        if self._id_column in rows.column_names:
            return cell(value_at(rows[self._id_column], place), 80)
        return str(numbers[place])


def _key_of(answer: str, names: ColumnNames) -> str | None:
    """The key of an answer column in the model's JSON; None for the whole answer."""
    name = names.property_of(answer)
    is_whole = name not in names.properties and name in ("response", names.answer)
    return None if is_whole else name


def _floats(column: pa.ChunkedArray) -> Floats:
    return column.to_numpy().astype(np.float64)


def _texts(value: object) -> Iterator[str]:
    """Every string in nested values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(cast(Mapping[str, object], value).values()))
    elif isinstance(value, list | tuple):
        for inner in cast(Sequence[object], value):
            yield from _texts(inner)
