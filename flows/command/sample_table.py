"""Shows a sample's rows as a table: id, prompt values, the answer's properties as columns, and the known labels."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from promptmill.output.manifest import Manifest
from promptmill.output.reading import read_rows
from promptmill.output.report.accuracy import agrees
from promptmill.output.report.wording import property_cell
from promptmill.planning.prepared_job import SAMPLES, Prepared
from promptmill.runs.run import PendingRun
from promptmill.shorten import shorten

_LONGEST_INPUT = 80
_LONGEST_CELL = 160
_MOST_PROPERTIES = 8  # with more columns, none would have room


def sample_table(part: PendingRun, manifest: Manifest) -> Table:
    """The answered rows, then those that failed."""
    prepared = part.prepared
    url, named = f"{prepared.output.url}/{SAMPLES}", answer_columns(prepared)
    compared = prepared.job.output.compare or {}
    table = Table(show_lines=True)
    for name in ("row", "input", *named, *(f"known: {known}" for known in compared.values())):
        table.add_column(Text(name), overflow="fold")
    if manifest.failed:
        table.add_column("why it failed", overflow="fold", style="red")
    answered = read_rows(url) if manifest.succeeded else []
    failed = read_rows(url, failures=True) if manifest.failed else []
    for row in answered:
        cells = [cell(row[name]) for name in named]
        table.add_row(*about(prepared, row), *cells, *_known(prepared, row, compared))
    for row in failed:
        known = [cell(row[name]) for name in compared.values()]
        table.add_row(*about(prepared, row), *["" for _ in named], *known, cell(_reason(prepared, row)))
    return table


def answer_columns(prepared: Prepared) -> list[str]:
    """The columns of the answer's properties, or the whole answer if it has none."""
    names = prepared.names
    return list(names.properties.values())[:_MOST_PROPERTIES] or [names.answer]


def about(prepared: Prepared, row: Mapping[Any, Any]) -> tuple[Text, Text]:
    """A row's id, and the values that its prompt uses."""
    named = prepared.job.input.id_column or prepared.names.row_index
    used = sorted(prepared.builder.columns & set(prepared.dataset.carried) - {named})
    values = [shorten(str(row[name]), _LONGEST_INPUT) for name in used]
    return cell(row.get(named)), Text("\n".join(values))


def _known(prepared: Prepared, row: Mapping[Any, Any], compared: Mapping[str, str]) -> Iterator[Text]:
    """The right answers, each with a mark that says whether the model's is the same."""
    for answer, known in compared.items():
        answered = row[prepared.names.properties.get(prepared.names.property_of(answer), prepared.names.answer)]
        if row[known] is None:
            yield Text("")
        elif agrees(row[known], answered):
            yield Text("= ", "green").append_text(cell(row[known]))
        else:
            yield Text("≠ ", "red").append_text(cell(row[known]))


def _reason(prepared: Prepared, row: Mapping[Any, Any]) -> str:
    meta = prepared.names.meta_prefix
    return f"{row[f'{meta}error_kind']}: {row[f'{meta}error_message']}"


def cell(value: object) -> Text:
    """A value as a person reads it; a vector by its length."""
    if isinstance(value, list) and value and all(isinstance(number, float) for number in value):
        return Text(f"{len(value)} dimensions")
    return Text("" if value is None else property_cell(value, _LONGEST_CELL))
