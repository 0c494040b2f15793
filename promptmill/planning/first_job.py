"""The first job file of somebody who has data and a question: what the data suggests, and the file as text. Pure but `look_at`.

The guesses are shown in the file as comments, and `promptmill check` tries them on the whole input.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pyarrow as pa
import yaml

from promptmill.cell_values import values_of
from promptmill.dataset.dataset import open_dataset
from promptmill.job.input_spec import Input

_LOOKED_AT_ROWS = 500
_MOST_LABELS = 20
_SHOWN_COLUMNS = 30
_MAX_TOKENS = 500  # of an answer, in the file that we write
_OF_TEXT = re.compile(r"text|body|review|content|message|description|comment|question|prompt|abstract|ticket", re.I)
_OF_ID = re.compile(r"(?i:(.*[_ ])?(id|uuid|guid|key))|.*[a-z]Id")
_OF_LABEL = re.compile(r"(.*[_ ])?(label|category|class|expected|sentiment|target|gold|topic|intent)", re.I)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_OF_JINJA = frozenset(
    ["true", "false", "none", "and", "or", "not", "in", "is", "if", "else", "elif", "for", "import", "self", "loop"]
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the first rows of an input suggest."""

    columns: tuple[str, ...]
    text: str  # the column that the prompt shows
    id_column: str | None = None  # unique for each row that was looked at
    known: str | None = None  # a column with few values, which may be the right answers
    labels: tuple[str, ...] = ()  # its values


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person answers."""

    data: str  # input.url
    instruction: str  # the system prompt
    model: str
    labels: tuple[str, ...] = ()  # what the model chooses from; none: it answers in its own words
    budget_usd: Decimal | None = None


def look_at(url: str) -> Seen:
    """What the first rows of an input suggest. Blocks. Raises: DatasetError."""
    dataset = open_dataset(Input(url=url))
    return guess(next(dataset.read(_LOOKED_AT_ROWS)))


def guess(table: pa.Table) -> Seen:
    """What rows suggest: which column is the text, which the id, and which may have the right answers."""
    values = {name: values_of(table[name]) for name in table.column_names}
    texts = [name for name, column in values.items() if any(isinstance(value, str) for value in column)]
    id_column = next((name for name in values if _OF_ID.fullmatch(name) and _is_unique(values[name])), None)
    known = next(
        (name for name in texts if _OF_LABEL.fullmatch(name) and 2 <= len(_few(values[name])) <= _MOST_LABELS), None
    )
    others = [name for name in texts if name not in {id_column, known}] or texts or list(values)
    named = [name for name in others if _OF_TEXT.search(name)]
    text = max(named or others, key=lambda name: sum(len(str(value)) for value in values[name] if value is not None))
    return Seen(tuple(values), text, id_column, known, () if known is None else _few(values[known]))


def _is_unique(column: Sequence[object]) -> bool:
    return None not in column and len({str(value) for value in column}) == len(column)


def _few(column: Sequence[object]) -> tuple[str, ...]:
    """The values of a column in their order, as texts; none if nearly each row has another."""
    found = sorted({value for value in column if isinstance(value, str) and value})
    return tuple(found) if 2 * len(found) <= len(column) else ()


def name_of(data: str) -> str:
    """A job's name, from that of its input."""
    stem = PurePosixPath(urlsplit(data).path).name.split(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:80] or "answers"


def job_text(wishes: Wishes, seen: Seen, schema_file: str) -> str:
    """The job file, with comments that say what else could be there."""
    name = name_of(wishes.data)
    lines = [
        f"# yaml-language-server: $schema={schema_file}",
        "# A job of Promptmill. To go on: promptmill check, then sample, then run, each with this file's name.",
        f"name: {_quoted(name)}",
        "input:",
        f"  url: {_quoted(wishes.data)}",
        f"  # columns: {_named(seen.columns)}",
        *_id_lines(seen),
        "request:",
        f"  model: {_quoted(wishes.model)}",
        *_prompts(wishes.instruction, _template(seen.text)),
        *_answer_lines(wishes, seen),
        f"  parameters: {{max_completion_tokens: {_MAX_TOKENS}}}  # goes to the provider as it is",
        "output:",
        f"  url: {_quoted(f'{name}-answers')}  # a folder, or a URL such as s3://bucket/folder",
        *_compare_lines(wishes, seen),
        *_money_lines(wishes),
        "# limits: {max_concurrency: auto}  # requests and tokens a minute are learned unless you set them",
    ]
    return "\n".join(lines) + "\n"


def _id_lines(seen: Seen) -> list[str]:
    if seen.id_column is None:
        return ["  # id_column: …  # a column that is unique for each row; answers then stay with it when rows move"]
    return [
        f"  id_column: {_quoted(seen.id_column)}  # unique in the first {_LOOKED_AT_ROWS} rows; answers stay with it"
    ]


def _answer_lines(wishes: Wishes, seen: Seen) -> list[str]:
    if not wishes.labels:
        return [
            "  # response_schema: {type: object, properties: {…}, required: […], additionalProperties: false}",
            "  #   with a JSON Schema, each property becomes a column",
        ]
    return [
        "  response_schema:  # each property becomes a column",
        "    type: object",
        "    properties:",
        f"      {_quoted(_property(seen))}: {{type: string, enum: {_listed(wishes.labels)}}}",
        f"    required: {_listed([_property(seen)])}",
        "    additionalProperties: false",
    ]


def _compare_lines(wishes: Wishes, seen: Seen) -> list[str]:
    if not _is_compared(wishes, seen):
        return ["  # compare: {answer column: input column}  # for rows whose right answer you know"]
    known = _quoted(seen.known or "")
    return [f"  compare: {{{known}: {known}}}  # the report says how often the answers agree with this column"]


def _money_lines(wishes: Wishes) -> list[str]:
    budget = "# budget_usd: 5" if wishes.budget_usd is None else f"budget_usd: {wishes.budget_usd:f}"
    return [
        f"{budget}  # a hard cap in US dollars, over all runs of this output",
        "# pricing: {input_per_mtok: 0, output_per_mtok: 0}  # for a model that no price table knows",
    ]


def _is_compared(wishes: Wishes, seen: Seen) -> bool:
    """Whether the model chooses from what the known column has."""
    return seen.known is not None and bool(wishes.labels) and set(seen.labels) <= set(wishes.labels)


def _property(seen: Seen) -> str:
    return "label" if seen.known is None else seen.known


def _prompts(instruction: str, template: str) -> list[str]:
    """The lines of system and user; an instruction that names a column itself is the whole prompt."""
    about = "  # a Jinja2 template; other columns by their names"
    if "{{" in instruction:
        return [f"  user: {_quoted(instruction)}{about}"]
    return [f"  system: {_quoted(instruction)}", f"  user: {_quoted(template)}{about}"]


def _template(column: str) -> str:
    is_plain = _PLAIN.fullmatch(column) is not None and column.lower() not in _OF_JINJA
    return f"{{{{ {column} }}}}" if is_plain else f"{{{{ row[{json.dumps(column, ensure_ascii=False)}] }}}}"


def _named(columns: Sequence[str]) -> str:
    """Columns for a comment: ASCII, so that none ends the line."""
    shown = ", ".join(json.dumps(name)[1:-1] for name in columns[:_SHOWN_COLUMNS])
    return shown if len(columns) <= _SHOWN_COLUMNS else f"{shown} and {len(columns) - _SHOWN_COLUMNS} more"


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=1_000_000).strip()


def _listed(texts: Sequence[str]) -> str:
    return f"[{', '.join(_quoted(text) for text in texts)}]"
