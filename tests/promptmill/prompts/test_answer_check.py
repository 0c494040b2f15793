"""The check of an answer says what the package `jsonschema` says, within bounds that the package doesn't have."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from promptmill.errors import JobError
from promptmill.prompts.answer_check import AnswerCheck
from promptmill.prompts.patterns import Pattern
from promptmill.prompts.response_schema import ResponseSchema
from tests.support.examples import examples

NAMES = ("a", "b", "c d", "é")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**63, 2**64 - 1, -(2**63), 1e300, 0.0, 1.0, -1.5, 2.0]),
    st.sampled_from(["", "a", "ab", "1", "é"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)),
    max_leaves=10,
)
OWN = st.fixed_dictionaries(
    {},
    optional={
        "type": st.one_of(
            st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"]),
            st.just(["integer", "null"]),
        ),
        "enum": st.lists(VALUES, min_size=1, max_size=4),
        "const": VALUES,
        "minimum": st.sampled_from([-1, 0.5, 2]),
        "maximum": st.sampled_from([-1, 0.5, 2]),
        "exclusiveMinimum": st.sampled_from([-1, 0]),
        "exclusiveMaximum": st.sampled_from([1, 2.0]),
        "multipleOf": st.sampled_from([1, 2, 0.5, 1e-300, 3.0]),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "minItems": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "minProperties": st.integers(0, 2),
        "maxProperties": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "pattern": st.sampled_from(["a", "^a$", "^[0-9]+$", "^$"]),
        "required": st.lists(st.sampled_from(NAMES), unique=True, max_size=3),
        "$comment": st.just("says nothing"),
    },
)
SCHEMAS = st.recursive(
    st.one_of(OWN, st.just({"$ref": "#/$defs/D"}), st.just({"$ref": "#/$defs/T"})),
    lambda inner: st.builds(
        lambda own, more: own if "$ref" in own else {**own, **more},
        OWN,
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
                "additionalProperties": st.one_of(st.booleans(), inner),
                "items": inner,
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "anyOf": st.lists(inner, min_size=1, max_size=3),
            },
        ),
    ),
    max_leaves=8,
)
DEFINITIONS = {
    "D": {"type": ["string", "integer"]},
    "T": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/T"}}, {"type": "integer"}]},
}


@given(SCHEMAS, VALUES)
@settings(max_examples=examples(300))
def test_an_answer_follows_a_schema_if_and_only_if_jsonschema_says_so(schema: dict[str, Any], answer: Any) -> None:
    whole = {**schema, "$defs": DEFINITIONS}

    assert Draft202012Validator(whole).is_valid(answer) == (AnswerCheck(whole).find_fault(answer) is None)


@pytest.mark.parametrize(
    ("schema", "answer", "message"),
    [
        pytest.param({"items": {"type": "string"}}, ["a", 1], "$[1]: 1 is not of type 'string'", id="element"),
        pytest.param(
            {"properties": {"c d": {"enum": ["x"]}}}, {"c d": 1}, "$['c d']: 1 is not one of ['x']", id="odd-name"
        ),
        pytest.param(
            {"anyOf": [{"type": "null"}, {"type": "object", "required": ["a"]}]},
            {"b": 1},
            "$: 'a' is a required property",
            id="the-branch-that-was-meant",
        ),
        pytest.param(
            {"anyOf": [{"type": "null"}, {"type": "string"}]},
            1,
            "$: 1 is not valid under any of the given schemas",
            id="no-branch",
        ),
        pytest.param({"maxItems": 1}, ["x" * 1_000] * 1_000, re.compile(r"^.{300,2500} is too long$"), id="long-value"),
        pytest.param({"type": "string"}, {str(i): i for i in range(99)}, "$: an object of 99 properties is", id="big"),
    ],
)
def test_a_fault_names_place_and_reason(schema: dict[str, Any], answer: Any, message: Any) -> None:
    fault = AnswerCheck(schema).find_fault(answer)
    assert fault is not None

    assert re.match(
        message if isinstance(message, re.Pattern) else re.escape(message), f"{fault.place}: {fault.message}"
    )


@pytest.mark.parametrize(
    ("pattern", "text", "is_found"),
    [
        pytest.param("b", "abc", True, id="unanchored"),
        pytest.param("^b", "abc", False, id="anchored"),
        pytest.param("^a$", "a\n", False, id="dollar-is-the-end"),
        pytest.param(r"^\u00e9$", "é", True, id="code-point"),
        pytest.param(r"^\u{1F600}$", "😀", True, id="code-point-in-braces"),
        pytest.param(r"^\\u0041$", "A", False, id="escaped-backslash"),
        pytest.param(r"^\d+$", "٣", False, id="digits-are-ascii"),
        pytest.param(r"^\w+$", "é", False, id="words-are-ascii"),
        pytest.param(r"^\p{L}+$", "é", True, id="letters-of-any-script"),
        pytest.param(r"^(?<year>\d{4})-(0[1-9]|1[0-2])$", "2026-11", True, id="named-group"),
        pytest.param(r"^[\w.+-]+@[\w-]+\.[\w.-]+$", "a@b.example", True, id="address"),
        pytest.param(r"^\/a\-b$", "/a-b", True, id="needless-escapes"),
    ],
)
def test_a_pattern_is_read_as_json_schema_says(pattern: str, text: str, is_found: bool) -> None:
    assert Pattern(pattern, "#").matches(text) is is_found


_LOOKING_AHEAD = [
    pytest.param(r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", id="Decimal-of-pydantic"),
    pytest.param(r"^(?=.*\d)(?=.*[a-z]).{2,4}$", id="password"),
    pytest.param(r"^(?!-)[a-z-]+$", id="no-dash-first"),
    pytest.param(r"^(?!.*\(\))[()a]+$", id="escaped-parentheses"),
    pytest.param(r"^(?![()])[(a)]*(a|b)$", id="parentheses-in-a-set"),
    pytest.param(r"^(?=a|b)(?!(ab|ba)$)", id="alternatives-inside"),
]


@pytest.mark.parametrize("pattern", _LOOKING_AHEAD)
@given(text=st.text(st.sampled_from("ab1.+-()"), max_size=6))
def test_a_look_ahead_right_after_the_anchor_is_matched_as_pythons_re_does(pattern: str, text: str) -> None:
    assert Pattern(pattern, "#").matches(text) is (re.search(pattern, text) is not None)


@pytest.mark.parametrize("pattern", _LOOKING_AHEAD)
def test_a_pattern_that_looks_ahead_is_kept_but_not_sent(pattern: str) -> None:
    amount = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": pattern}]}
    schema = ResponseSchema({"type": "object", "properties": {"amount": amount, "pattern": {"type": "string"}}})

    assert "(?" not in str(schema.strict_schema)
    assert "pattern" in schema.properties
    assert any("amount" in change and "pattern" in change for change in schema.additions)
    assert schema.validate('{"amount": "%", "pattern": ""}') is not None


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        pytest.param(r"(?=a)b", r"can't be used", id="look-ahead"),
        pytest.param(r"^(?=a)b|c", r"can't be used", id="look-ahead-of-one-alternative"),
        pytest.param(r"^(?=a)?b", r"can't be used", id="repeated-look-ahead"),
        pytest.param(r"^(?=a", r"can't be used", id="look-ahead-without-an-end"),
        pytest.param(r"^a(?=b)", r"can't be used", id="look-ahead-inside"),
        pytest.param(r"^(?!(?=a)b)c", r"can't be used", id="look-ahead-in-a-look-ahead"),
        pytest.param(r"(?<!a)b", r"can't be used", id="look-behind"),
        pytest.param(r"(a)\1", r"can't be used", id="back-reference"),
        pytest.param("a" * 1_001, "has 1,001 characters; the limit is 1,000", id="long"),
        pytest.param(r"\p{L}{500}", "has a weight of 500,000; the limit is 50,000", id="heavy"),
        pytest.param(r"((a{1,30}){1,30}){1,30}", "can't be used", id="nested-counts"),
    ],
)
def test_a_pattern_that_cannot_be_matched_in_linear_time_is_refused(pattern: str, fault: str) -> None:
    with pytest.raises(JobError, match=f"at #/properties/a {fault}"):
        ResponseSchema({"type": "object", "properties": {"a": {"pattern": pattern}}})
