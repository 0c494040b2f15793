"""Shows the page of `promptmill check`: facts about the job, and the first prompt as the model reads it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from flows.command import console
from flows.command.tables import show_estimate
from promptmill.limits.pricing import requested_tier
from promptmill.number_words import count, usd
from promptmill.planning.first_prompt import first_prompt
from promptmill.planning.head import HEAD_ROWS, describe_head
from promptmill.prompts.references import resolve
from promptmill.prompts.shown_prompt import ShownMessage
from promptmill.provider.first_contact import Contact
from promptmill.records import Request
from promptmill.runs.run import PendingRun
from promptmill.shorten import shorten

_PIECE_CHARACTERS = 1_500  # characters of a text; `--full` shows all of it
_FROM_ROW = "bold cyan"
_PROPERTIES = 12  # characters of the schema in its one line
_VALUES = 6  # values of an enumeration


def show_check(run: PendingRun, contact: Contact, is_full: bool, as_json: bool) -> None:
    """The facts about a job, its provider, and its first request: as JSON if it `is_full`, else as a text."""
    out = console.stderr() if as_json else console.stdout()
    for number, line in enumerate(_found(run, contact)):
        console.write(out, Text.assemble(("ok ", "bold green") if not number else "   ", line))
    request = run.preflight.plan.first_request
    if request is not None:
        if is_full:
            body = orjson.dumps(run.prepared.builder.preview(request), option=orjson.OPT_INDENT_2).decode()
            out.print(Panel(escape(body), title="the first request", title_align="left"))
        else:
            _show_prompt(out, run)
        console.write(out, Text(f"   {_price(run, request)}"))
    problem = [] if contact.problem is None else [f"a run would end at once: {contact.problem}"]
    show_estimate(run.preflight.estimate, (*run.preflight.warnings, *problem), None, as_json)


def _found(run: PendingRun, contact: Contact) -> Iterator[str]:
    plan, prepared = run.preflight.plan, run.prepared
    files, columns = len(prepared.dataset.files), ", ".join(prepared.dataset.schema.names)
    place = f"{count(files)} file{'' if files == 1 else 's'}" if files else "a database"
    yield f"{count(plan.rows)} rows in {place}; columns: {columns}"
    if plan.shared:
        yield (
            f"{count(plan.shared)} rows take the answer of an earlier row that sends the same request "
            "(request.answer_each_row: true asks for each)"
        )
    yield from prepared.dataset.notes
    if plan.rows > HEAD_ROWS:
        waits = run.preflight.waits
        yield describe_head(prepared.job, HEAD_ROWS) if waits is None else waits.sentence
    yield f"output {prepared.output.shown} can be written, read and cleared"
    yield f"provider {contact.found}"


def _price(run: PendingRun, request: Request) -> str:
    prepared, limit = run.prepared, request.max_output_tokens
    price = prepared.prices.request_usd(
        request.input_tokens, limit or 0, requested_tier(prepared.job.request.parameters)
    )
    most = f"and at most {count(limit)} out, so at most {usd(price)}" if limit else f"in: {usd(price)}, and its answer"
    return f"{count(request.input_tokens)} tokens in ({prepared.counter.label}) {most} ({prepared.prices.label})"


def _show_prompt(out: Console, run: PendingRun) -> None:
    """The first prompt, message by message; without colours, marks stand around the columns' values."""
    has_colours = out.is_terminal and not out.no_color
    of_row = Text("in colour", _FROM_ROW) if has_colours else Text("between « and »")
    console.write(out, Text.assemble("   the first prompt; what comes from the row's columns is ", of_row))
    for message in first_prompt(run.prepared, run.preflight.plan):
        console.write(out, Text.assemble("\n", (f"   {message.role}", "dim")))
        console.write(out, prompt_text(message, has_colours))
    schema = run.prepared.schema
    if schema is not None:
        told = describe_properties(schema.properties, schema.definitions)
        console.write(
            out, Text.assemble("\n", ("   answer", "dim"), f"\n{told}", ("\n   --full shows the request", "dim"))
        )
    console.write(out, Text(""))


def prompt_text(message: ShownMessage, has_colours: bool) -> Text:
    """A message's text, with the columns' values marked."""
    text = Text()
    for piece in message.pieces:
        shown = shorten(piece.text, _PIECE_CHARACTERS)
        if not piece.is_from_row:
            text.append(shown)
        elif has_colours:
            text.append(shown, _FROM_ROW)
        else:
            text.append(f"«{shown}»")
    text.rstrip()
    return text


def describe_properties(properties: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A response schema folded into a line: each property with its type, and of an object the names of its properties."""
    shown = [f"{name}: {_type_of(schema, definitions)}" for name, schema in list(properties.items())[:_PROPERTIES]]
    more = len(properties) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])


def _type_of(schema: object, definitions: Mapping[str, Any]) -> str:
    if isinstance(schema, Mapping) and "$ref" in schema:
        schema = resolve(schema["$ref"], definitions)
    if not isinstance(schema, Mapping):
        return "anything"
    if isinstance(schema.get("enum"), Sequence):
        values = [str(value) for value in schema["enum"]]
        return " | ".join([*values[:_VALUES], *(["…"] if len(values) > _VALUES else [])])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(str(name) for name in kind)
    if kind == "array":
        return f"list of {_type_of(schema.get('items'), definitions)}"
    if kind == "object" and isinstance(schema.get("properties"), Mapping) and schema["properties"]:
        names = list(schema["properties"])
        return f"{{{', '.join([*names[:_VALUES], *(['…'] if len(names) > _VALUES else [])])}}}"
    if kind is None:
        return (
            "anything"
            if "anyOf" not in schema
            else " or ".join(_type_of(option, definitions) for option in schema["anyOf"])
        )
    return str(kind)
