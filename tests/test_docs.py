"""Documentation that lists what the code has: every key, default, column, kind and field, in the same order."""

import re
import typing
from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from promptmill.checkpoints.answer_files import ANSWERS
from promptmill.job.request_spec import Tier
from promptmill.job.spec import RESERVED_PARAMETERS, Csv, FormatOptions, Job, Message, RequestSpec, Section
from promptmill.output.columns import FAILURE_COLUMNS, SUCCESS_COLUMNS
from promptmill.output.manifest import Manifest
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.sandbox import MAX_RANGE, REMOVED_FILTERS
from promptmill.prompts.templates import RowTemplate
from promptmill.prompts.tokens import MEDIA_TOKENS, counter_for
from promptmill.records import FAILURE_KINDS
from tests.support.paths import ROOT
from tests.test_architecture import ALLOWED

DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)")
UNNAMED = {"promptmill", "tasks"}  # the ground and the folder of tasks' rooms
CODE_PATH = re.compile(r"`((?:promptmill|tasks|flows|tests|deployments|examples|benchmarks)/[\w./-]*)`")


def tables(page: str) -> dict[str, list[list[str]]]:
    """The rows of the last table under each heading, cells without their backticks."""
    found: dict[str, list[list[str]]] = {}
    for section in re.split(r"^#+ ", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        parts = re.findall(r"(?:^\|.*\n?)+", body, flags=re.MULTILINE)
        lines = parts[-1].splitlines()[2:] if parts else []
        found[heading] = [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return found


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models inside a model, itself included."""
    yield model
    for one in model.model_fields.values():
        for inner in _models(one.annotation):
            yield from sections(inner)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def headings() -> dict[type[BaseModel], str]:
    """Under which heading each model is described: the key that holds it."""
    named = {Job: "The job", Message: "messages", Csv: "csv", Tier: "tier", FormatOptions: "format_options"}
    for key, one in Job.model_fields.items():
        named.update(dict.fromkeys(_models(one.annotation), key))
    return named


def default_of(model: type[BaseModel], key: str) -> object:
    """A key's default as a job file would have it; `required` where it has none."""
    field = model.model_fields[key]
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, BaseModel):
        return default.model_dump(exclude_defaults=True)
    return float(default) if isinstance(default, Decimal) else default


@pytest.mark.parametrize("model", list(sections(Job)), ids=lambda model: model.__name__)
def test_every_key_of_a_job_is_described_with_its_default(model: type[BaseModel]):
    described = {row[0]: yaml.safe_load(row[1]) for row in tables("job.md")[headings()[model]]}

    assert described == {key: default_of(model, key) for key in model.model_fields}
    assert list(described) == list(model.model_fields)


def test_what_is_said_of_templates_is_so():
    page = (DOCS / "job.md").read_text()
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL) if "request:" in text]
    RequestBuilder(
        RequestSpec.model_validate(yaml.safe_load(block)["request"]), ["title", "picture_url"], None, counter_for("m")
    )
    examples = [code for row in tables("job.md")["Templates"] for code in row[0].split("`, `")]
    for code in examples:
        RowTemplate("request.user", code.replace("\\|", "|"), ["text", "tags", "picture", "a column"])

    assert len(examples) == 12
    assert all(f"`{name}`" in page for name in (*REMOVED_FILTERS, *RESERVED_PARAMETERS))
    assert f"{MAX_RANGE:,}" in page
    assert f"{MEDIA_TOKENS} tokens" in page


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        pytest.param("Columns of the answers", SUCCESS_COLUMNS, id="answers"),
        pytest.param("Columns of the failures", FAILURE_COLUMNS, id="failures"),
    ],
)
def test_every_column_of_ours_is_described_with_its_type(heading: str, columns: dict[str, str]):
    described = [(row[0], row[1]) for row in tables("output.md")[heading]]

    assert described == [(name, str(ANSWERS.field(source).type)) for name, source in columns.items()]


def test_every_kind_of_failure_is_described():
    assert [row[0] for row in tables("output.md")["Kinds of failures"]] == list(FAILURE_KINDS)


def test_every_field_of_the_manifest_is_described():
    assert [row[0] for row in tables("output.md")["The manifest"]] == [one.name for one in fields(Manifest)]


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path):
    links = [(page.parent / name if name else page, anchor) for name, anchor in LINK.findall(page.read_text())]

    assert [str(target) for target, _ in links if not target.exists()] == []
    assert [f"{target}#{anchor}" for target, anchor in links if anchor and anchor not in anchors(target)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_ours_that_a_page_names_is_there(page: Path):
    named = set(CODE_PATH.findall(page.read_text()))

    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_map_names_every_room():
    page = (DOCS / "architecture.md").read_text()

    assert [room for room in ALLOWED if room not in UNNAMED and f"| `{room.replace('.', '/')}` |" not in page] == []


def test_every_decision_is_listed_and_has_its_parts():
    index = (DOCS / "decisions" / "README.md").read_text()
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))

    assert [record.name for record in records if f"({record.name})" not in index] == []
    for record in records:
        headings = re.findall(r"^## (.+)$", record.read_text(), flags=re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Measured"], record.name
