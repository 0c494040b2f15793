"""The response schema: where it comes from, what is sent of it, and whether an answer keeps to it.

The order of its properties, in which a model answers, is the one that was written: in a file, a class, a text or a job
file. A mapping given to the API may have lost it on the way (key_order.py): there `required` says it, and the names say
the rest. So one schema makes one request on every road, as long as its `required` names its properties as they come.

`package.module:Model` imports that module, and so runs its code: whoever starts a job that names one trusts the author
of both. Nothing else is run, and no `$ref` is ever fetched.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any, cast

import orjson
import yaml
from jsonschema import Draft202012Validator
from jsonschema import exceptions as invalid
from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from referencing import Registry
from referencing.exceptions import Unresolvable

from promptmill.allowed_urls import describe_cause, require_allowed_module
from promptmill.errors import JobError
from promptmill.job.key_order import canonical, is_schema_text, parse_schema_text
from promptmill.prompts.strict_schema import JsonSchema, definition_name, to_strict
from promptmill.storage import STORAGE_ERRORS, open_filesystem

MODEL_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
NAME_CHARACTERS = 64  # of json_schema.name, [a-zA-Z0-9_-]; OpenAI API reference, read 2026-11-24
MESSAGE_CHARACTERS = 160  # of a reason that quotes an answer


best_match = cast(Callable[[Iterable[invalid.ValidationError]], invalid.ValidationError], invalid.best_match)  # pyright: ignore[reportUnknownMemberType]


class ResponseSchema:
    """A JSON Schema in strict form, and a validator that was built once."""

    def __init__(self, schema: Mapping[str, Any], name: str | None = None, *, is_ordered: bool = True) -> None:
        """Raises: JobError when it isn't a JSON Schema, isn't an object at the top, or has no strict form."""
        strict, changes = to_strict(_checked(schema), is_ordered=is_ordered)
        self.strict_schema: JsonSchema = canonical(strict)
        self.additions: tuple[str, ...] = tuple(changes)  # what strict mode made different; sentences
        self.name = _clean_name(name or str(schema.get("title") or "response"))
        self.definitions: dict[str, JsonSchema] = self.strict_schema.get("$defs", {})
        self.properties: dict[str, JsonSchema] = {
            key: self._resolve(one) for key, one in self.strict_schema["properties"].items()
        }  # top-level ones, in the order in which the model writes them; `$ref` may stand further inside
        self._validator: Any = Draft202012Validator(self.strict_schema, registry=Registry())

    def response_format(self) -> JsonSchema:
        """What chat.completions takes as `response_format`."""
        inner = {"name": self.name, "schema": self.strict_schema, "strict": True}
        return {"type": "json_schema", "json_schema": inner}

    def text_format(self) -> JsonSchema:
        """What responses take as `text.format`."""
        return {"type": "json_schema", "name": self.name, "schema": self.strict_schema, "strict": True}

    def validate(self, text: str) -> str | None:
        """Why an answer isn't what was asked for, in one short sentence; None when it is."""
        try:
            answer: Any = orjson.loads(text)
            if self._validator.is_valid(answer):
                return None
            error = best_match(self._validator.iter_errors(answer))
        except orjson.JSONDecodeError as error:
            return f"the answer is no JSON: {error}"
        except RecursionError:
            return "the answer is nested too deeply to be checked"
        return f"the answer breaks the response schema at {error.json_path}: {_shorten(error.message)}"

    def _resolve(self, schema: JsonSchema) -> JsonSchema:
        seen: set[str] = set()
        while "$ref" in schema and schema["$ref"] != "#" and schema["$ref"] not in seen:
            seen.add(schema["$ref"])
            schema = self.definitions[definition_name(schema["$ref"])]
        return schema


def load_schema(spec: Mapping[str, Any] | str) -> ResponseSchema:
    """The schema that a job names: itself, its text, the URL of a .json or .yaml file, "package.module:PydanticModel".

    Raises: JobError when it can't be found or read, or can't be used.
    """
    if not isinstance(spec, str):
        return ResponseSchema(spec, is_ordered=False)
    if is_schema_text(spec):
        return ResponseSchema(_read_text(spec))
    if MODEL_PATH.fullmatch(spec):
        model = _import_model(spec)
        try:
            return ResponseSchema(model.model_json_schema(), model.__name__)
        except PydanticUserError as error:
            raise JobError(
                f"request.response_schema: {spec!r} has no JSON Schema ({error}); its fields must be of types that "
                "JSON knows. Change those fields."
            ) from error
    return ResponseSchema(_read_file(spec))


def _import_model(path: str) -> type[BaseModel]:
    module_name, _, attributes = path.partition(":")
    require_allowed_module(module_name)
    try:
        module = importlib.import_module(module_name)
        found: object = reduce(getattr, attributes.split("."), module)
    except Exception as error:  # whatever a module of the user's raises when it is imported
        raise JobError(
            f"request.response_schema names {path!r}, which can't be imported ({type(error).__name__}: {error}); it "
            f"must be found on Python's path: {', '.join(sys.path[:3])}, … Install it, or run where the module is."
        ) from error
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise JobError(
            f"request.response_schema names {path!r}, which is no pydantic model but {type(found).__name__!r}; only "
            'a class that derives from BaseModel has a schema. Name one, as "package.module:Model".'
        )
    return cast(type[BaseModel], found)


def _read_text(text: str) -> JsonSchema:
    try:
        return parse_schema_text(text)
    except ValueError as error:
        raise JobError(
            f"request.response_schema is a text that begins with {text.lstrip()[:20]!r} and can't be read: {error}; a "
            "text that begins with a brace is a JSON Schema, as JSON or YAML. Mend it there."
        ) from error


def _read_file(url: str) -> JsonSchema:
    if not url.endswith((".json", ".yaml", ".yml")):
        raise JobError(
            f"request.response_schema is {url!r}; a file ends in .json, .yaml or .yml, a pydantic model is written "
            "package.module:Model, a text of JSON begins with a brace. Give one of them, or the schema itself."
        )
    try:
        filesystem, path = open_filesystem(url, "request.response_schema")
        data = cast(bytes, filesystem.cat_file(path))  # pyright: ignore[reportUnknownMemberType]
        loaded: object = orjson.loads(data) if url.endswith(".json") else yaml.safe_load(data)
    except (*STORAGE_ERRORS, ImportError, ValueError, yaml.YAMLError) as error:
        raise JobError(
            f"request.response_schema: {url!r} can't be read ({type(error).__name__}: {describe_cause(error)}); it must "
            "hold one JSON Schema. Fix the path or the file; relative paths start at the working directory."
        ) from error
    if not isinstance(loaded, dict):
        raise JobError(
            f"request.response_schema: {url!r} holds {type(loaded).__name__!r}; a JSON Schema is an object. "
            "Mend the file."
        )
    return cast(JsonSchema, loaded)


def _checked(schema: Mapping[str, Any]) -> JsonSchema:
    """The schema in JSON's own values: what YAML took for a date is a text."""
    try:
        plain = cast(JsonSchema, orjson.loads(orjson.dumps(schema)))
        Draft202012Validator.check_schema(plain)
        return plain
    except invalid.SchemaError as error:
        raise JobError(
            f"the response schema is no valid JSON Schema at {error.json_path}: {_shorten(error.message)}; draft "
            "2020-12 is understood (request.response_schema). Mend it there."
        ) from error
    except (TypeError, RecursionError, Unresolvable) as error:
        raise JobError(
            f"the response schema can't be written as JSON ({error}); its keys and values are those of JSON "
            "(request.response_schema). Quote what YAML takes for a number, a date or a boolean."
        ) from error


def _clean_name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[:NAME_CHARACTERS] or "response"


def _shorten(message: str) -> str:
    """The start, which may quote the answer, and the end, which says what is wrong with it."""
    if len(message) <= MESSAGE_CHARACTERS:
        return message
    return f"{message[: MESSAGE_CHARACTERS // 4]} … {message[-3 * MESSAGE_CHARACTERS // 4 :]}"
