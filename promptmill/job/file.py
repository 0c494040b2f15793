"""Reads a job file at any URL, and reports all its mistakes at once: each with its place and the right form.

Overrides may have lost the order of their keys on the way (key_order.py). So we apply them in the order of their paths,
and sort the keys of mappings among them.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import yaml
from pydantic import ValidationError

from promptmill.allowed_urls import describe_cause, is_closed_process
from promptmill.bounded_json import is_deeper_than
from promptmill.documents import MAX_DOCUMENT_DEPTH, DocumentTooLarge, load_yaml, read_document
from promptmill.errors import JobError
from promptmill.job.defaults import Defaults, filled
from promptmill.job.key_order import canonical, keep_schema_order
from promptmill.job.spec import Job
from promptmill.places import shown_place
from promptmill.public_url import public_text
from promptmill.shorten import shorten
from promptmill.storage import STORAGE_ERRORS, open_filesystem
from promptmill.suggest import did_you_mean

# an unquoted value with a template, after a key or as an element of a list
_UNQUOTED = re.compile(
    r"""^[ \t]*((?:-[ \t]+)*(?:([\w."-]+):[ \t]+|(?<=-[ ]))(?!["'|>#])[^\n]*?\{[{%])""", re.MULTILINE
)
_SHOWN_MISTAKES = 12
_SHOWN_CHARACTERS = 100  # of a value or a place
_MESSAGE_CHARACTERS = 400
_REQUIRED = tuple(name for name, field in Job.model_fields.items() if field.is_required())


def load_job(url: str, overrides: Mapping[str, object] | None = None, defaults: Defaults | None = None) -> Job:
    """The job in a file at any fsspec URL, with overrides (`{"limits.max_concurrency": 8}`) and defaults.

    Raises: JobError when the file can't be read, isn't YAML or isn't a job.
    """
    content = _read(url)
    source = url if defaults is None else f"{url}, with the defaults of {defaults.source},"
    if defaults is not None and isinstance(content, dict):
        content = filled(cast(dict[str, Any], content), defaults.values)
    try:
        return parse_job(content, overrides, source=source, is_ordered=True)
    except JobError:
        if is_closed_process() and not _is_meant_as_job(content):
            raise _not_a_job(url) from None  # a detailed message would quote somebody's file
        raise


def parse_job(
    content: object, overrides: Mapping[str, object] | None = None, source: str = "job", *, is_ordered: bool = False
) -> Job:
    """The job from plain values.

    Set `is_ordered` when the keys of `content` still have the order in which their author wrote them.
    Raises: JobError when the values aren't a job.
    """
    if not isinstance(content, dict):
        raise JobError(
            f"{source} holds {type(content).__name__}; a job is a mapping of keys (name, input, request, output). "
            "See the README for the smallest one."
        )
    values = cast(dict[str, Any], content)
    if is_deeper_than([values, overrides], MAX_DOCUMENT_DEPTH + 1):
        raise JobError(
            f"{source} is nested deeper than {MAX_DOCUMENT_DEPTH} levels, which is the limit. Write it with fewer levels."
        )
    for path, value in sorted((overrides or {}).items()):
        values = _replaced(values, path.split("."), _with_sorted_keys(value), path)
    try:
        return Job.model_validate(keep_schema_order(values) if is_ordered else values)
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in _describe_errors(error))
        raise JobError(f"{source} isn't a job that can be run:\n{lines}\nFix it and try again.") from error


def parse_override(text: str) -> tuple[str, object]:
    """The path and the value in `a.b=value`; the value is read as YAML. Raises: JobError."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise JobError(f"--set {text!r} isn't of the form a.b=value, such as --set limits.max_concurrency=8. Fix it.")
    try:
        return path.strip(), load_yaml(value)
    except yaml.YAMLError as error:
        raise JobError(
            f"--set {shorten(text, _SHOWN_CHARACTERS)!r} has a value that isn't YAML: {error}. Put the value in "
            "quotes, those of YAML inside those of the shell."
        ) from error


def _describe_errors(error: ValidationError) -> list[str]:
    """A line for each mistake: its place, what is wrong and, if that helps, the given value."""
    lines: list[str] = []
    for mistake in error.errors(include_url=False):
        place = ".".join(str(part) for part in mistake["loc"]) or "the job"
        given = mistake.get("input")
        is_shown = isinstance(given, str | int | float | bool) and mistake["type"] != "missing"
        shown = f" (got {shorten(repr(given), _SHOWN_CHARACTERS)})" if is_shown else ""
        message = mistake["msg"].removeprefix("Value error, ")
        lines.append(f"{shorten(place, _SHOWN_CHARACTERS)}: {shorten(message, _MESSAGE_CHARACTERS)}{shown}")
    left_out = len(lines) - _SHOWN_MISTAKES
    return lines if left_out <= 0 else [*lines[:_SHOWN_MISTAKES], f"… and {left_out:,} more mistakes"]


def _read(url: str) -> object:
    try:
        filesystem, path = open_filesystem(url, "job_url")
        text = read_document(filesystem, path).decode()
    except DocumentTooLarge as error:
        raise _beyond_bound(url, error) from error
    except (*STORAGE_ERRORS, ValueError, ImportError) as error:
        raise JobError(
            f"the job file {shown_place(url)} can't be read: {public_text(describe_cause(error), url)}. Give the path "
            "or URL of a YAML file."
        ) from error
    try:
        return load_yaml(text)
    except DocumentTooLarge as error:
        raise _beyond_bound(url, error) from error
    except yaml.YAMLError as error:
        raise JobError(
            f"the job file {shown_place(url)} isn't YAML: {describe_cause(error)}. {_advice(text, error)}"
        ) from error


def _advice(text: str, error: yaml.YAMLError) -> str:
    """What to do with a file that isn't YAML. Most often, a prompt that begins with a template lacks quotes."""
    found = _UNQUOTED.finditer(text)
    lines = {text.count("\n", 0, match.start(1)) + 1: match for match in found}
    mark = error.problem_mark.line + 1 if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark else 0
    line = min(lines, key=lambda number: abs(number - mark), default=None)
    if line is None or is_closed_process():
        return "Fix it and try again."
    key = lines[line][2]
    return (
        f"In line {line} a template has no quotes, and YAML reads its braces. Put the prompt in quotes, as in "
        f'{key or "-"}{" " if not key else ": "}"{{{{ text }}}}", or write it on the next lines after a |.'
    )


def _beyond_bound(url: str, error: DocumentTooLarge) -> JobError:
    return JobError(
        f"the job file {shown_place(url)} can't be used: {error}. Make it smaller, or move data into the input."
    )


def _is_meant_as_job(content: object) -> bool:
    return isinstance(content, dict) and set(_REQUIRED) <= set(cast(dict[Any, Any], content))


def _not_a_job(url: str) -> JobError:
    return JobError(
        f"job_url {shown_place(url)!r} holds no job; a job file has the keys {', '.join(_REQUIRED)}. Name another "
        "file, or add the keys."
    )


def _with_sorted_keys(value: object) -> object:
    try:
        return canonical(value)
    except TypeError:
        return value  # a key isn't a string; the job's own validation refuses it


def _replaced(values: dict[str, Any], path: list[str], value: object, whole_path: str) -> dict[str, Any]:
    """A copy with another value at a dotted path."""
    head, *rest = path
    if not rest:
        return {**values, head: value}
    below = values.get(head)
    if below is not None and not isinstance(below, dict):
        raise JobError(
            f"{whole_path!r} can't be set: {head!r} is a value, not a section. {did_you_mean(head, Job.SECTIONS)}"
        )
    return {**values, head: _replaced(cast(dict[str, Any], below or {}), rest, value, whole_path)}
