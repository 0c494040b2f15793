"""A response schema is found or refused, and answers are checked against it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from promptmill.errors import JobError
from promptmill.prompts.response_schema import ResponseSchema, load_schema
from tests.support.schemas import LABEL, objects_of


class Cat(BaseModel):
    """One of two."""

    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    """The other."""

    kind: Literal["dog"]
    breed: str | None = None


class Pet(BaseModel):
    """A model as users write them."""

    animal: Annotated[Cat | Dog, Field(discriminator="kind")]
    rival: Cat = Field(description="Lives next door.")
    names: list[str] = Field(default_factory=list)


class Tree(BaseModel):
    """A model that holds itself."""

    name: str
    children: list["Tree"]
    parent: "Tree | None" = Field(description="Where it hangs.")


class Open(BaseModel):
    """A model with an open object."""

    scores: dict[str, int]


class NoSchema(BaseModel):
    """A model with a field that JSON has no type for."""

    thing: Callable[[], int]


def test_the_order_of_properties_is_kept() -> None:
    """A model reasons before it labels only if the reason comes first."""
    assert ["reason", "label"] == list(ResponseSchema(LABEL).properties)


def test_each_endpoint_gets_its_own_response_format() -> None:
    schema = ResponseSchema(LABEL)
    inner = {"name": "Label_of_a_review_", "schema": schema.strict_schema, "strict": True}

    assert {"type": "json_schema", "json_schema": inner} == schema.response_format()
    assert {"type": "json_schema", **inner} == schema.text_format()


@pytest.mark.parametrize(
    ("title", "name"), [("Réponse 1", "R_ponse_1"), ("x" * 100, "x" * 64), ("", "response"), ("日本", "_")]
)
def test_names_have_only_characters_that_the_api_takes(title: str, name: str) -> None:
    assert name == ResponseSchema(LABEL | {"title": title}).name


def test_a_pydantic_model_becomes_strict() -> None:
    schema = load_schema(f"{__name__}:Pet")

    assert "Pet" == schema.name
    assert all(found["additionalProperties"] is False for found in objects_of(schema.strict_schema))
    assert all(list(found["properties"]) == found["required"] for found in objects_of(schema.strict_schema))
    assert "oneOf" not in json.dumps(schema.strict_schema)
    assert "default" not in json.dumps(schema.strict_schema)
    assert "object" == schema.properties["rival"]["type"]  # its $ref was resolved
    assert {"Cat", "Dog"} == set(schema.definitions)
    assert schema.validate('{"animal":{"kind":"dog","breed":null},"rival":{"kind":"cat","lives":3},"names":[]}') is None


def test_a_recursive_model_becomes_strict() -> None:
    schema = load_schema(f"{__name__}:Tree")
    answer = '{"name":"a","children":[{"name":"b","children":[],"parent":null}],"parent":null}'

    assert schema.validate(answer) is None
    assert schema.validate(answer.replace('"b"', "1")) is not None


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_a_schema_is_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"label{suffix}"
    path.write_text(json.dumps(LABEL))

    assert ResponseSchema(LABEL).strict_schema == load_schema(str(path)).strict_schema
    assert ResponseSchema(LABEL).strict_schema == load_schema(path.as_uri()).strict_schema


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("nowhere/label.json", "FileNotFoundError"),
        ("nosuch://label.json", "Protocol not known"),
        ("label.txt", "ends in .json"),
        ("no.such.module:Model", "ModuleNotFoundError"),
        (f"{__name__}:Nobody", "AttributeError"),
        ("json:loads", "isn't a pydantic model"),
        (f"{__name__}:Open", "additionalProperties: a schema"),
        (f"{__name__}:NoSchema", "no JSON Schema"),
    ],
)
def test_a_schema_that_cannot_be_loaded_is_refused(spec: str, match: str) -> None:
    with pytest.raises(JobError, match=match):
        load_schema(spec)


@pytest.mark.parametrize("content", ["{", "[1]", "a: [", "null"])
def test_a_file_that_holds_no_schema_is_refused(tmp_path: Path, content: str) -> None:
    for suffix in (".json", ".yaml"):
        path = tmp_path / f"label{suffix}"
        path.write_text(content)

        with pytest.raises(JobError, match="label"):
            load_schema(str(path))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param('{"reason":"it is","label":"good"}', None, id="valid"),
        pytest.param(' {"label":"bad","reason":""}\n', None, id="valid-otherwise-written"),
        pytest.param(
            '{"reason":"it is","label":"fine"}', "at $.label: 'fine' is not one of ['good', 'bad']", id="enum"
        ),
        pytest.param('{"label":"good"}', "at $: 'reason' is a required property", id="missing"),
        pytest.param('{"reason":"","label":"good","x":1}', "at $: Additional properties", id="additional"),
        pytest.param('["good"]', "at $: ['good'] is not of type 'object'", id="no-object"),
        pytest.param("The label is good.", "isn't JSON", id="prose"),
        pytest.param('```json\n{"label":"good"}\n```', "'reason' is a required property", id="fenced"),
        pytest.param('{"reason":"it', "isn't JSON", id="cut"),
        pytest.param("", "isn't JSON", id="empty"),
        pytest.param('{"reason":"\\ud800","label":"good"}', "isn't JSON", id="surrogate"),
        pytest.param("[" * 100_000, "isn't JSON", id="deep"),
        pytest.param('{"reason":NaN,"label":"good"}', "isn't JSON", id="nan"),
    ],
)
def test_an_answer_is_accepted_or_refused_with_a_reason(answer: str, message: str | None) -> None:
    found = ResponseSchema(LABEL).validate(answer)

    assert found == message if message is None else message in str(found)


def test_a_reason_does_not_repeat_a_long_answer() -> None:
    found = ResponseSchema(LABEL).validate(json.dumps({"reason": "", "label": "z" * 10_000}))

    assert found is not None
    assert len(found) < 250
    assert found.endswith("is not one of ['good', 'bad']")


def test_a_tree_that_is_too_deep_is_refused() -> None:
    schema = ResponseSchema(
        {
            "type": "object",
            "properties": {"t": {"$ref": "#/$defs/T"}},
            "$defs": {"T": {"type": "array", "items": {"$ref": "#/$defs/T"}}},
        }
    )

    assert schema.validate('{"t":' + "[" * 150 + "]" * 150 + "}") is None
    assert "deeper than 200 levels" in str(schema.validate('{"t":' + "[" * 200 + "]" * 200 + "}"))
    assert "deeper than 200 levels" in str(schema.validate('{"t":' + "[" * 900 + "]" * 900 + "}"))


def test_a_date_in_a_yaml_schema_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "days.yaml"
    path.write_text("{type: object, properties: {day: {enum: [2026-01-01]}}}")

    assert load_schema(str(path)).validate('{"day":"2026-01-01"}') is None
    assert load_schema(path.read_text()).validate('{"day":"2026-01-01"}') is None


def test_a_class_is_found_in_the_working_folder_also_by_an_installed_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "invoice_of_the_test.py").write_text(
        "from pydantic import BaseModel\n\nclass Bill(BaseModel):\n    total: int\n"
    )
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    found = load_schema("invoice_of_the_test:Bill")

    assert list(found.properties) == ["total"]
    assert str(tmp_path) not in before
    assert sys.path == before
