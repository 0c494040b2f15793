"""Turns the job's JSON Schema into a form that the Prefect UI shows well and by which the server checks a new run.

Form, file and documentation have one source, the types. This module rewrites their schema and allows the same values.
What the two UIs of Prefect 3.8.8 do with a schema (read in their bundles and seen in a browser, 2026-11-25):

- `position` orders the fields; without it PostgreSQL, which stores the schema as jsonb, would.
- The UI shows `X | None` as two tabs, "str" and "None", with None chosen; in the newer UI the tab of a dict shows nothing
  to fill in. The server takes null for any optional property with a type and no default (_fix_null_typing in
  prefect/utilities/schema_tools/validation.py). So such a field becomes a plain X, which may stay empty.
- A section that may be None keeps its tabs and the default null. Without that default, the newer UI switches to and fro
  between the two tabs, once None is chosen, until the page hangs.
- A field without a type gets a JSON editor, inside tabs too. An object inside tabs gets no editor.
- When the server refuses an unknown key, it lists the known keys if the schema has `propertyNames`, but doesn't if it
  has `additionalProperties`.
- Every string gets a text area, which the newer UI lets grow with its text; `format` changes nothing there.
"""

from typing import Any, cast

from pydantic import MISSING, GetJsonSchemaHandler
from pydantic_core import CoreSchema

_Schema = dict[str, Any]
_WORDS = {"url": "URL", "id": "ID", "usd": "(US dollars)", "mtok": "million tokens"}
_TABS = {
    "string": "Text",
    "number": "Number",
    "integer": "Number",
    "boolean": "Yes or no",
    "array": "List",
    "null": "None",
}
_NO_OBJECTS = {"type": ["null", "boolean", "number", "string", "array"]}


def shape_section(schema: _Schema) -> None:
    """Turn a section's schema into one for a form, in place; for pydantic's `json_schema_extra`."""
    fields = cast(dict[str, _Schema], schema.get("properties", {}))
    for position, (name, field) in enumerate(fields.items()):
        _shape_field(field)
        field.update(title=label(name), position=position)
    if schema.get("additionalProperties") is False:
        del schema["additionalProperties"]
        schema["propertyNames"] = {"type": "string", "enum": list(fields)}


def _shape_field(field: _Schema) -> None:
    """Turn a field's schema into one for a form, in place: no tabs for a single choice, else tabs with names."""
    tabs = cast(list[_Schema], field.get("anyOf", []))
    given = [tab for tab in tabs if tab.get("type") != "null"]
    if not given:
        return
    if "$ref" in given[0]:
        field["default"] = None
    elif field.get("default", MISSING) is None:
        del field["default"]
    if len(given) == 1 and len(tabs) == 2 and "$ref" not in given[0]:
        field.update(given[0])
        del field["anyOf"]
    else:
        field["anyOf"] = [_name_tab(tab) for tab in tabs]


def _name_tab(tab: _Schema) -> _Schema:
    """A tab with a name; a section has one already. The tab for any object has no type, so the UI shows a JSON editor."""
    if tab.get("type") == "object":
        return {"title": "JSON", "not": _NO_OBJECTS}
    return tab if "$ref" in tab else {**tab, "title": _TABS[tab["type"]]}


def label(name: str) -> str:
    """A key as a title for people: `approve_above_usd` becomes "Approve above (US dollars)"."""
    words = [_WORDS.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


class FormField:
    """Turns the schema of the parameter that it annotates into one for a form."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> _Schema:
        schema = handler(core_schema)
        _shape_field(schema)
        return schema
