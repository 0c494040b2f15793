"""The response schema: where it comes from, what the provider gets of it, and whether an answer follows it.

A model answers in the order of the properties. That is the order in which their author wrote them in a file, a class, a
text or a job file. A mapping given to the API may have lost it on the way (key_order.py): then `required` gives the
order, and properties that it doesn't name follow by name. So a schema whose `required` names its properties in their
order makes the same request, whichever way it arrives.

`package.module:Model` imports that module, which runs its code: the person who starts such a job trusts the author of
both. Nothing else runs code, and nothing ever fetches a `$ref`.
"""

import importlib
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, cast

import orjson
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema import exceptions as invalid
from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from referencing.exceptions import Unresolvable

from promptmill.allowed_urls import describe_cause, is_closed_process, require_allowed_module
from promptmill.bounded_json import JsonTooLarge, load_json
from promptmill.documents import load_json_document, load_yaml, read_document
from promptmill.errors import JobError
from promptmill.job.key_order import canonical, is_schema_text, parse_schema_text
from promptmill.places import shown_place
from promptmill.prompts.answer_check import AnswerCheck
from promptmill.prompts.faults import TooMuchWork
from promptmill.prompts.references import resolve
from promptmill.prompts.schema_size import require_small, require_small_expanded, too_large
from promptmill.prompts.strict_schema import JsonSchema, to_strict, without_look_ahead
from promptmill.prompts.unwrapping import read_answer
from promptmill.public_url import public_text
from promptmill.shorten import shorten
from promptmill.storage import STORAGE_ERRORS, open_filesystem

_MODEL_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_NAME_CHARACTERS = 64  # of json_schema.name, [a-zA-Z0-9_-]; OpenAI API reference, read 2026-11-24
_NO_FORMATS = FormatChecker(formats=())  # else Python's `re` would judge the patterns, which RE2 matches
NO_JSON = "the answer isn't JSON"
_MESSAGE_CHARACTERS = 160  # of a reason that quotes an answer


class ResponseSchema:
    """A JSON Schema in strict form, with a validator that is built once."""

    def __init__(self, schema: Mapping[str, Any], name: str | None = None, *, is_ordered: bool = True) -> None:
        """Raises: JobError when the schema isn't valid, isn't an object at the top, or has no strict form."""
        try:
            strict, changes = to_strict(_checked(schema), is_ordered=is_ordered)
            require_small_expanded(strict)
        except RecursionError as error:
            raise too_large("is nested too deeply when each $ref is followed") from error
        self._check = AnswerCheck(canonical(strict))
        sent, unsent = without_look_ahead(strict)
        self.strict_schema: JsonSchema = canonical(sent)
        self.additions: tuple[str, ...] = (*changes, *unsent)  # what strict mode changed; sentences
        self.name = _clean_name(name or str(schema.get("title") or "response"))
        self.definitions: dict[str, JsonSchema] = self.strict_schema.get("$defs", {})
        self.properties: dict[str, JsonSchema] = {
            name: self._resolve(inner) for name, inner in self.strict_schema["properties"].items()
        }  # at the top level, in the order in which the model writes them; a `$ref` may stand further inside

    def response_format(self) -> JsonSchema:
        """The value of `response_format` for chat.completions."""
        inner = {"name": self.name, "schema": self.strict_schema, "strict": True}
        return {"type": "json_schema", "json_schema": inner}

    def text_format(self) -> JsonSchema:
        """The value of `text.format` for responses."""
        return {"type": "json_schema", "name": self.name, "schema": self.strict_schema, "strict": True}

    def validate(self, text: str) -> str | None:
        """Why an answer breaks the schema, in one short sentence; None when it follows the schema."""
        try:
            fault = self._check.find_fault(read_answer(text, load_json))
        except orjson.JSONDecodeError as error:
            return f"{NO_JSON}: {error}"
        except JsonTooLarge as error:
            return f"the answer can't be checked: {error}"
        except RecursionError:
            return "the answer is nested too deeply to be checked"
        except TooMuchWork:
            return (
                "the answer takes more work to check than an answer may; a smaller one, or a simpler schema, takes less"
            )
        if fault is None:
            return None
        return f"the answer breaks the response schema at {_shorten(fault.place)}: {_shorten(fault.message)}"

    def _resolve(self, schema: JsonSchema) -> JsonSchema:
        """The schema itself, after following its `$ref`; a strict schema has no reference that leads in a circle."""
        target: object = schema
        while isinstance(target, dict):
            schema = target
            target = resolve(schema.get("$ref"), self.definitions)
        return schema


def load_schema(spec: Mapping[str, Any] | str) -> ResponseSchema:
    """The schema that a job gives: inline, as a text, the URL of a .json or .yaml file, or "package.module:PydanticModel".

    Raises: JobError when the schema can't be found, read or used.
    """
    if not isinstance(spec, str):
        return ResponseSchema(spec, is_ordered=False)
    if is_schema_text(spec):
        return ResponseSchema(_read_text(spec))
    if named_module(spec) is not None:
        model = _import_model(spec)
        try:
            return ResponseSchema(model.model_json_schema(), model.__name__)
        except PydanticUserError as error:
            raise JobError(
                f"request.response_schema: {spec!r} has no JSON Schema ({error}); each field needs a type that "
                "JSON has. Change those fields."
            ) from error
    return ResponseSchema(_read_file(spec))


def named_module(spec: str) -> str | None:
    """The module that is imported for a schema of the form `package.module:Model`; None for any other."""
    return spec.partition(":")[0] if _MODEL_PATH.fullmatch(spec) else None


def _import_model(path: str) -> type[BaseModel]:
    module_name, _, attributes = path.partition(":")
    require_allowed_module(module_name)
    try:
        with _looking_here_too():
            module = importlib.import_module(module_name)
        found: object = reduce(getattr, attributes.split("."), module)
    except Exception as error:  # the user's module can raise anything while it is imported
        raise JobError(
            f"request.response_schema names {path!r}, which can't be imported ({type(error).__name__}: {error}); Python "
            f"looks for it in {', '.join(sys.path[:3])}, … Install it, or run in the folder of the module."
        ) from error
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise JobError(
            f"request.response_schema names {path!r}, which isn't a pydantic model but {type(found).__name__!r}; "
            'only a class that derives from BaseModel has a schema. Name one, as "package.module:Model".'
        )
    return cast(type[BaseModel], found)


@contextmanager
def _looking_here_too() -> Generator[None]:
    """While this lasts, Python looks for modules in the working folder too, after all others.

    The path of an installed command doesn't have it, unlike that of `python -m`. Somebody else's job, which a deployed run
    carries out, gets no more folders.
    """
    here = str(Path.cwd())
    if is_closed_process() or here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _read_text(text: str) -> JsonSchema:
    try:
        return parse_schema_text(text)
    except ValueError as error:
        raise JobError(
            f"request.response_schema is a text that begins with {text.lstrip()[:20]!r} and can't be read: {error}; a "
            "text that begins with a brace must be a JSON Schema, in JSON or YAML. Fix it there."
        ) from error


def _read_file(url: str) -> JsonSchema:
    if not url.endswith((".json", ".yaml", ".yml")):
        raise JobError(
            f"request.response_schema is {shown_place(url)!r}; a file ends in .json, .yaml or .yml, a pydantic model is "
            "written package.module:Model, and a schema as text begins with a brace. Give one of these, or the schema inline."
        )
    try:
        filesystem, path = open_filesystem(url, "request.response_schema")
        data = read_document(filesystem, path)
        loaded = load_json_document(data) if url.endswith(".json") else load_yaml(data.decode())
    except (*STORAGE_ERRORS, ImportError, ValueError, yaml.YAMLError) as error:
        raise JobError(
            f"request.response_schema: {shown_place(url)!r} can't be read ({type(error).__name__}: "
            f"{public_text(describe_cause(error), url)}); it must hold one JSON Schema. Fix the path or the file; "
            "relative paths start at the working directory."
        ) from error
    if not isinstance(loaded, dict):
        raise JobError(
            f"request.response_schema: {shown_place(url)!r} holds {type(loaded).__name__!r}; a JSON Schema is an object. "
            "Fix the file."
        )
    return cast(JsonSchema, loaded)


def _checked(schema: Mapping[str, Any]) -> JsonSchema:
    """The schema, valid and with JSON's own values only: a date that YAML read becomes a text. Raises: JobError."""
    try:
        require_small(schema)
        plain = cast(JsonSchema, orjson.loads(orjson.dumps(schema)))
        Draft202012Validator.check_schema(plain, _NO_FORMATS)
        return plain
    except invalid.SchemaError as error:
        raise JobError(
            f"the response schema isn't a valid JSON Schema at {error.json_path}: {_shorten(error.message)}; it must "
            "follow draft 2020-12 (request.response_schema). Fix it there."
        ) from error
    except (TypeError, RecursionError, Unresolvable) as error:
        raise JobError(
            f"the response schema can't be written as JSON ({error}); its keys must be texts and its "
            "values those of JSON (request.response_schema). Quote a key that YAML reads as a number, date or boolean."
        ) from error


def _clean_name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[:_NAME_CHARACTERS] or "response"


def _shorten(message: str) -> str:
    """The start, which may quote the answer, and the end, which says what is wrong with it."""
    return shorten(message, _MESSAGE_CHARACTERS, tail=3 * _MESSAGE_CHARACTERS // 4)
