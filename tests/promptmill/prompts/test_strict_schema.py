"""A response schema becomes strict, or is refused before the run."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from promptmill.errors import JobError
from promptmill.prompts.response_schema import ResponseSchema, load_schema
from promptmill.prompts.strict_schema import to_strict
from tests.support.schemas import LABEL, objects_of


def test_strict_form_adds_what_the_author_left_out() -> None:
    schema = ResponseSchema(LABEL)

    assert schema.strict_schema["additionalProperties"] is False
    assert ["reason", "label"] == schema.strict_schema["required"]
    assert () == schema.additions
    assert "additionalProperties" not in LABEL  # the author's own is left alone


def test_a_change_to_what_the_author_said_is_reported() -> None:
    schema = ResponseSchema(LABEL | {"required": ["label"]})

    assert ["reason", "label"] == schema.strict_schema["required"]
    assert ("#: reason became required; allow null where a value may be missing",) == schema.additions


def test_a_definition_with_a_description_beside_its_reference_may_contain_itself() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node", "description": "The next one."}}}
    schema = ResponseSchema({"$ref": "#/$defs/Node", "$defs": {"Node": node}})

    assert {"$ref": "#/$defs/Node"} == schema.strict_schema["$defs"]["Node"]["properties"]["next"]


@pytest.mark.parametrize(
    ("schema", "match"),
    [
        pytest.param({"type": "array", "items": {}}, "is \\{\\}|top level has type", id="no-object"),
        pytest.param({"name": "x", "schema": LABEL}, "not the response_format", id="envelope"),
        pytest.param({"type": "objekt"}, r"isn't a valid JSON Schema at \$\.type", id="invalid"),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": True}}},
            "additionalProperties: true.* at #/properties/a",
            id="open",
        ),
        pytest.param(
            {"type": "object", "additionalProperties": {"type": "string"}},
            "additionalProperties: a schema",
            id="open-by-schema",
        ),
        pytest.param({"type": "object", "properties": {"a": True}}, "allows anything or nothing", id="true"),
        pytest.param({"type": "object", "properties": {"a": {"not": {}}}}, "uses 'not' at #/properties/a", id="not"),
        pytest.param({"type": "object", "allOf": [LABEL, LABEL]}, "uses 'allOf'", id="all-of"),
        pytest.param(
            {"type": "object", "properties": {"a": {"$ref": "https://example.org/a.json"}}},
            "never fetched",
            id="remote-ref",
        ),
        pytest.param({"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}, "leads nowhere", id="missing-ref"),
        pytest.param(
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}},
            "in a circle",
            id="circle",
        ),
        pytest.param(
            {"type": "object", "properties": {"a": {"pattern": "("}}}, "'\\(' at #/properties/a", id="pattern"
        ),
        pytest.param({"type": "object", "properties": {"a": {"enum": [{1, 2}]}}}, "written as JSON", id="no-json"),
        pytest.param({"type": "object", "properties": {1: {}}}, "written as JSON", id="key-no-string"),
    ],
)
def test_a_schema_without_a_strict_form_is_refused(schema: dict[str, Any], match: str) -> None:
    with pytest.raises(JobError, match=match):
        load_schema(schema)


SCALARS = st.sampled_from(
    [{"type": "string"}, {"type": ["integer", "null"]}, {"enum": ["a", 1]}, {"$ref": "#/$defs/D"}]
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(lambda one: {"type": "array", "items": one}, inner),
        st.builds(lambda many: {"oneOf": many}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda one: {"allOf": [one], "description": "d"}, inner),
        st.builds(lambda many: {"properties": many}, st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    ),
    max_leaves=8,
)


@given(properties=st.dictionaries(st.text(max_size=3), SCHEMAS, max_size=3))
def test_a_strict_schema_is_closed_valid_and_stays_as_it_is(properties: dict[str, Any]) -> None:
    root = {"type": "object", "properties": properties, "$defs": {"D": {"type": "number", "description": "n"}}}
    strict, _ = to_strict(root)
    Draft202012Validator.check_schema(strict)  # pyright: ignore[reportUnknownMemberType]

    assert all(list(one["properties"]) == one["required"] for one in objects_of(strict))
    assert strict == to_strict(strict)[0]
