"""Reads defaults for all jobs of a folder: `promptmill.toml`, or `[tool.promptmill]` in `pyproject.toml`.

Only the command reads them, and only from the folder in which it starts: a file further up may belong to somebody else, and
a deployed run has no folder of its own. A value in the job file wins, even null.
"""

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from promptmill.errors import JobError
from promptmill.job.section import Section
from promptmill.job.spec import Job
from promptmill.suggest import did_you_mean

_FILE = "promptmill.toml"
_PROJECT = "pyproject.toml"
_TABLE = "tool.promptmill"
_Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Defaults:
    """The values for keys that a job doesn't set."""

    source: str  # the file's name, for people
    values: Mapping[str, Any]

    def names(self) -> str:
        """The keys, by dotted name."""
        return ", ".join(_dotted(self.values, Job))


def find_defaults(folder: Path) -> Defaults | None:
    """The defaults in a folder. Raises: JobError when their file isn't TOML or names an unknown key."""
    own = _read(folder / _FILE)
    if own is not None:
        return _checked(_FILE, own)
    match _read(folder / _PROJECT, _TABLE):
        case {"tool": {"promptmill": table}}:
            return _checked(f"{_PROJECT} [{_TABLE}]", table)
        case _:
            return None


def filled(values: Mapping[str, Any], defaults: Mapping[str, Any], model: type[Section] = Job) -> _Values:
    """A job's values, completed by the defaults. Sections are completed key by key; other values count as a whole."""
    found: _Values = {**defaults, **values}
    for name, section in _sections(model).items():
        own, default = values.get(name), defaults.get(name)
        if isinstance(own, Mapping) and isinstance(default, Mapping):
            found[name] = filled(cast(_Values, own), cast(_Values, default), section)
    return found


def _read(path: Path, needed: str = "") -> _Values | None:
    """The content of a TOML file; None if there is no file, or if it lacks the needed text."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{path} can't be read: {error}. It holds defaults for jobs. Fix or remove it.") from error
    if needed not in text:
        return None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise JobError(f"{path} isn't TOML: {error}. It holds defaults for jobs. Fix or remove it.") from error


def _checked(source: str, values: object) -> Defaults:
    if not isinstance(values, dict):
        raise JobError(f"{source} holds {type(values).__name__}; it takes a table of a job's keys. Write one.")
    _refuse_unknown(source, cast(_Values, values), Job, "")
    return Defaults(source, cast(_Values, values))


def _refuse_unknown(source: str, values: Mapping[str, Any], model: type[Section], place: str) -> None:
    for name in values:
        if name not in model.model_fields:
            raise JobError(
                f"{source} has the unknown key {place + name!r}. {did_you_mean(name, model.model_fields)} It takes the keys "
                "of a job (docs/job.md)."
            )
    for name, section in _sections(model).items():
        if isinstance(values.get(name), Mapping):
            _refuse_unknown(source, values[name], section, f"{place}{name}.")


def _sections(model: type[Section]) -> dict[str, type[Section]]:
    """Key → section, for the keys that hold a section."""
    found = {name: _section_in(field.annotation) for name, field in model.model_fields.items()}
    return {name: section for name, section in found.items() if section is not None}


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Section) else None
    if typing.get_origin(annotation) is list:
        return None
    return next((found for inner in typing.get_args(annotation) if (found := _section_in(inner)) is not None), None)


def _dotted(values: Mapping[str, Any], model: type[Section]) -> list[str]:
    sections, found = _sections(model), list[str]()
    for name, value in values.items():
        inner = _dotted(cast(_Values, value), sections[name]) if name in sections and isinstance(value, Mapping) else []
        found += [f"{name}.{key}" for key in inner] or [name]
    return found
