"""How often answers agree with the known ones (`output.compare`), and which labels the model takes for which.

We compare values as text and ignore case and surrounding space: the answer `true` agrees with `True`, 3.0 with "3".
We skip rows without a known answer and failed rows; an answer that is null is wrong.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import pyarrow as pa

from promptmill.cell_values import values_of
from promptmill.output.parsed_answers import ParsedAnswers

_MOST_LABELS = 12  # shown in a matrix
_MOST_PAIRS = 1_000  # with more of them the values are no labels, and we count agreement only
_LABEL_CHARACTERS = 40
_EXAMPLES_A_PAIR = 2  # of a known label and another answer
_MOST_EXAMPLES = 40
_NOTHING = "(nothing)"
_OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """The rows of one known label, and what the model answered for them."""

    label: str
    rows: int
    correct: int
    counts: tuple[int, ...]  # for each label of the matrix


@dataclass(frozen=True, slots=True)
class Matrix:
    """Known labels by answers."""

    answers: tuple[str, ...]
    rows: tuple[MatrixRow, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """An answer that isn't the known one."""

    place: int  # of its row in the table
    known: str
    answered: str


class Agreement:
    """Answers of one column against one column of the input."""

    def __init__(self, answer_column: str, known_column: str, key: str | None) -> None:
        """`key` is the column's key in the model's JSON; None compares the whole answer."""
        self.answer_column = answer_column
        self.known_column = known_column
        self.key = key
        self.compared = 0
        self.correct = 0
        self._pairs: Counter[tuple[str, str]] = Counter()  # (known, answered), case folded
        self._examples: Counter[tuple[str, str]] = Counter()  # by such a pair
        self._spelling: dict[str, str] = {}  # case folded → as first seen

    def add(self, known: Sequence[object], answered: Sequence[object]) -> list[Mistake]:
        """Count succeeded rows: a known value and an answer for each. Returns mistakes that may serve as examples."""
        found: list[Mistake] = []
        for place, (right, answer) in enumerate(zip(known, answered, strict=True)):
            if right is not None:
                pair = _as_text(right), _as_text(answer)
                self._count(*pair)
                if self._is_example(pair):
                    found.append(Mistake(place, *(text[:_LABEL_CHARACTERS] or _NOTHING for text in pair)))
        return found

    def _is_example(self, pair: tuple[str, str]) -> bool:
        """Whether a pair of labels differs and has few examples yet."""
        folded = pair[0].casefold(), pair[1].casefold()
        taken = self._examples[folded]
        if folded[0] == folded[1] or taken >= _EXAMPLES_A_PAIR or self._examples.total() >= _MOST_EXAMPLES:
            return False
        self._examples[folded] += 1
        return True

    def _count(self, known: str, answered: str) -> None:
        pair = (known.casefold(), answered.casefold())
        self.compared += 1
        self.correct += pair[0] == pair[1]
        if len(self._pairs) <= _MOST_PAIRS:
            clipped = (pair[0][:_LABEL_CHARACTERS], pair[1][:_LABEL_CHARACTERS])
            self._pairs[clipped] += 1
            for key, label in zip(clipped, (known, answered), strict=True):
                self._spelling.setdefault(key, label[:_LABEL_CHARACTERS])

    @property
    def ratio(self) -> float:
        """Share of compared rows that agree, 0 to 1."""
        return self.correct / self.compared if self.compared else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Where the ratio lies with 95 % confidence (Wilson score interval), if rows are a random sample."""
        n, z = self.compared, 1.96
        if not n:
            return 0.0, 1.0
        middle = (self.ratio + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(self.ratio * (1 - self.ratio) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def matrix(self) -> Matrix | None:
        """The confusion matrix; None if there are too many values to be labels."""
        if not self._pairs or len(self._pairs) > _MOST_PAIRS:
            return None
        known = Counter[str]()
        answered = Counter[str]()
        for (right, answer), rows in self._pairs.items():
            known[right] += rows
            answered[answer] += rows
        labels = [label for label, _ in known.most_common(_MOST_LABELS)]
        foreign = [label for label, _ in answered.most_common() if label not in labels]
        columns = [*labels, *foreign[: _MOST_LABELS - len(labels)]]
        rest = [_OTHERS] if any(label not in columns for label in answered) else []
        rows = tuple(self._row(label, known[label], columns, bool(rest)) for label in labels)
        return Matrix((*(self._spelling[label] or _NOTHING for label in columns), *rest), rows)

    def _row(self, label: str, rows: int, columns: Sequence[str], has_rest: bool) -> MatrixRow:
        counts = [self._pairs[label, answer] for answer in columns]
        rest = [rows - sum(counts)] if has_rest else []
        return MatrixRow(self._spelling[label] or _NOTHING, rows, self._pairs[label, label], (*counts, *rest))

    @property
    def summary(self) -> dict[str, Any]:
        """What the manifest says of it."""
        counts = {"compared": self.compared, "correct": self.correct, "accuracy": round(self.ratio, 6)}
        return {"input_column": self.known_column, **counts}


def agrees(known: object, answered: object) -> bool:
    """Whether an answer is the known one, compared as text without case and surrounding space."""
    return _as_text(known).casefold() == _as_text(answered).casefold()


def add_agreements(agreements: Sequence[Agreement], rows: pa.Table, answers: ParsedAnswers) -> dict[str, list[Mistake]]:
    """Count succeeded rows in each agreement whose input column they have; returns examples of mistakes by answer column."""
    return {
        agreement.answer_column: agreement.add(
            values_of(rows[agreement.known_column]),
            answers.texts if agreement.key is None else answers.values(agreement.key),
        )
        for agreement in agreements
        if agreement.known_column in rows.column_names
    }


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
