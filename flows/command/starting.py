"""Helps a person to write a job file: prints its schema for editors, and makes a first file from answers and the data."""

import sys
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import orjson
import typer

from flows.command import console
from promptmill.documents import load_yaml
from promptmill.errors import SetupError
from promptmill.job.editor_schema import editor_schema
from promptmill.job.file import parse_job
from promptmill.planning.first_job import Seen, Wishes, job_text, look_at

_SCHEMA_FILE = "promptmill.schema.json"  # beside the job file, whose first line names it


@dataclass(frozen=True, slots=True)
class Given:
    """A person's flags; the command asks for each None in a terminal."""

    data: str | None = None
    prompt: str | None = None
    labels: str | None = None
    model: str | None = None
    budget: str | None = None


def print_schema() -> None:
    """Print the schema, the same as docs/job.schema.json."""
    sys.stdout.write(_schema_text())


def _schema_text() -> str:
    return orjson.dumps(editor_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def write_first_job(path: str, given: Given, overwrite: bool) -> None:
    """Ask for the missing values, look at the data, and write the job file. Raises: SetupError or a subclass."""
    target = Path(path)
    if target.exists() and not overwrite:
        raise SetupError(f"there is a file {path!r} already. Name another one, or pass --overwrite to replace it.")
    _require(given)
    data = _answer(given.data, "Where is the data? A file, a folder or a URL", None)
    seen = look_at(data)
    console.say(_described(seen))
    wishes = _asked(data, seen, given)
    text = job_text(wishes, seen, _SCHEMA_FILE)
    parse_job(load_yaml(text), source=f"what would be written to {path}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    (target.parent / _SCHEMA_FILE).write_text(_schema_text(), "utf-8")
    console.say(f"{path} is written, and {_SCHEMA_FILE} for your editor. Now: promptmill check {path}")


def _require(given: Given) -> None:
    """Raises SetupError if values are missing and nobody is there to answer."""
    needed = {"--data": given.data, "--prompt": given.prompt, "--model": given.model}
    missing = [name for name, value in needed.items() if value is None]
    if missing and not console.is_dialog():
        raise SetupError(
            f"nobody is there to answer, so {', '.join(missing)} must be given. Give them, or run it in a terminal."
        )


def _asked(data: str, seen: Seen, given: Given) -> Wishes:
    instruction = _answer(given.prompt, "What should the model do with each row", None)
    guessed = ", ".join(seen.labels)
    labels = _answer(given.labels, "Which labels may it choose from? Empty: it answers in its own words", guessed)
    model = _answer(given.model, "Which model", None)
    budget = _answer(given.budget, "How many US dollars may this cost at most? Empty: no cap", "")
    chosen = tuple(dict.fromkeys(label.strip() for label in labels.split(",") if label.strip()))
    return Wishes(data, instruction, model, chosen, _usd(budget))


def _answer(given: str | None, question: str, default: str | None) -> str:
    """The given value; else a person's answer in a terminal; else the default."""
    if given is not None:
        return given
    if not console.is_dialog():
        return default or ""
    try:
        return str(typer.prompt(question, default=default, err=True))
    except typer.Abort:  # Ctrl-C, or the end of the input
        raise KeyboardInterrupt from None


def _usd(text: str) -> Decimal | None:
    try:
        return Decimal(text.strip().removeprefix("$")) if text.strip() else None
    except InvalidOperation:
        raise SetupError(f"{text!r} is no amount of US dollars, such as 5 or 0.50 (--budget). Give one.") from None


def _described(seen: Seen) -> str:
    found = [f"the text is in {seen.text!r}"]
    if seen.id_column is not None:
        found.append(f"{seen.id_column!r} is unique")
    if seen.known is not None:
        found.append(f"{seen.known!r} may have the right answers ({len(seen.labels)} values)")
    return f"{len(seen.columns):,} columns: {'; '.join(found)}"
