"""The job as a form: its JSON Schema in the words that the Prefect UI shows well and the server checks a new run against.

Form, file and documentation have one source, the types; this only says their schema otherwise, keeping what it allows.
What the two UIs of Prefect 3.8.8 do with a schema (read in their bundles and seen in a browser, 2026-11-25):

- `position` orders the fields; without it PostgreSQL, which stores the schema as jsonb, would.
- `X | None` is two tabs, "str" and "None", with None chosen; in the newer UI the tab of a dict shows nothing to fill in.
  The server takes null for any optional property with a type and no default (_fix_null_typing in
  prefect/utilities/schema_tools/validation.py), so that such a field is a plain X which may stay empty.
- A section that may be None keeps its tabs and the default null: without it the newer UI, once None is chosen, goes
  round and round between the two until the page hangs.
- A field without a type gets a JSON editor, inside tabs too, where an object gets none.
- The refusal of an unknown key lists the known ones by `propertyNames`, and doesn't by `additionalProperties`.
- Every string gets a text area, which the newer UI lets grow with its text; `format` has no say in it.
"""

from typing import Any, cast

from pydantic import MISSING, GetJsonSchemaHandler
from pydantic_core import CoreSchema

Schema = dict[str, Any]
WORDS = {"url": "URL", "id": "ID", "usd": "(US dollars)", "mtok": "million tokens"}
TABS = {
    "string": "Text",
    "number": "Number",
    "integer": "Number",
    "boolean": "Yes or no",
    "array": "List",
    "null": "None",
}
NO_OBJECTS = {"type": ["null", "boolean", "number", "string", "array"]}


def shape_section(schema: Schema) -> None:
    """Make a section's schema one for a form, in place; for pydantic's `json_schema_extra`."""
    fields = cast(dict[str, Schema], schema.get("properties", {}))
    for position, (name, field) in enumerate(fields.items()):
        shape_field(field)
        field.update(title=label(name), position=position)
    if schema.get("additionalProperties") is False:
        del schema["additionalProperties"]
        schema["propertyNames"] = {"type": "string", "enum": list(fields)}


def shape_field(field: Schema) -> None:
    """Make a field's schema one for a form, in place: no tabs where there is one thing to fill in, else tabs with names."""
    tabs = cast(list[Schema], field.get("anyOf", []))
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


def _name_tab(tab: Schema) -> Schema:
    """A tab with a name, a section's being its own; one for any object has no type, which makes it a JSON editor."""
    if tab.get("type") == "object":
        return {"title": "JSON", "not": NO_OBJECTS}
    return tab if "$ref" in tab else {**tab, "title": TABS[tab["type"]]}


def label(name: str) -> str:
    """A key as people read it: `approve_above_usd` is "Approve above (US dollars)"."""
    words = [WORDS.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


class FormField:
    """Shapes the schema of the parameter that it annotates."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        schema = handler(core_schema)
        shape_field(schema)
        return schema
