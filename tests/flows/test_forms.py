"""The schema that a deployment's form is made of, and that its runs are checked against."""

from decimal import Decimal
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from flows.advance_batches import advance_batches
from flows.batch_inference import batch_inference
from flows.estimate_cost import estimate_cost
from flows.online_inference import online_inference
from flows.steer import steer
from promptmill.errors import JobError
from promptmill.job.basics import KEYS, basics
from promptmill.job.form import label
from promptmill.job.spec import Job, Section
from tasks.run.plan import resolve_job

FLOWS = [online_inference, batch_inference, estimate_cost, advance_batches, steer]


def schema_of(flow: Any) -> dict[str, Any]:
    """As `prefect deploy` makes it."""
    return parameter_schema(flow).model_dump(exclude_unset=True)


def sections() -> list[type[Section]]:
    """Every part of the job."""
    return [*Section.__subclasses__()]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_the_long_job_comes_last_and_each_parameter_is_described(flow: Any):
    fields = schema_of(flow)["properties"]
    in_order = sorted(fields, key=lambda name: fields[name]["position"])

    assert in_order == [*(name for name in fields if name != "job"), *(["job"] if "job" in fields else [])]
    assert all(field["description"] for field in fields.values())


@pytest.mark.parametrize("flow", [online_inference, batch_inference, estimate_cost], ids=lambda flow: flow.name)
def test_the_fields_that_everybody_needs_come_first_and_may_stay_empty(flow: Any):
    schema = schema_of(flow)
    fields = schema["properties"]
    in_order = sorted(fields, key=lambda name: fields[name]["position"])

    assert in_order[: len(KEYS)] == [*KEYS]
    assert {fields[name]["type"] for name in KEYS} == {"string", "number"}
    assert not schema.get("required")


def test_a_job_is_given_by_its_basics_alone():
    given = basics(name="j", input_url="i", model="m", prompt="{{ text }}", output_url="o", budget_usd=1.5, provider="")
    job = resolve_job(None, None, {"limits.max_concurrency": 8}, given)

    assert (job.name, job.input.url, job.output.url, job.provider) == ("j", "i", "o", None)
    assert (job.request.model, job.request.user, job.limits.max_concurrency) == ("m", "{{ text }}", 8)
    assert job.budget_usd == Decimal("1.5")


def test_the_basics_replace_values_of_a_job_and_overrides_replace_both():
    given = basics(model="other", budget_usd=2)
    job = resolve_job(SMALLEST, None, {"budget_usd": 3}, given)

    assert (job.name, job.request.model, job.budget_usd) == ("j", "other", 3)
    assert resolve_job(SMALLEST, None, None, basics(model=None)).request.model == "m"


def test_a_run_that_names_no_job_at_all_is_told_what_it_may_name():
    with pytest.raises(JobError, match="or the job's basics: name, input_url, model"):
        resolve_job(None, None, {"budget_usd": 3}, basics())


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_each_field_has_a_place_and_a_name_and_offers_no_none_if_it_may_stay_empty(section: type[Section]):
    shown = schema_of(online_inference)["definitions"][section.__name__]["properties"]

    assert [field["position"] for field in shown.values()] == list(range(len(section.model_fields)))
    assert all(field["title"][0].isupper() for field in shown.values())
    for name, field in shown.items():
        kinds = {tab.get("type", tab.get("$ref")) for tab in field.get("anyOf", [])}
        assert len(kinds) != 2 or "null" not in kinds or name in {"pricing", "tier", "csv", "format_options"}


def test_an_optional_section_is_none_until_a_person_chooses_it():
    """Else the newer UI goes round and round once None is chosen, until the page hangs."""
    schema = schema_of(online_inference)

    assert schema["properties"]["job"]["default"] is None
    assert schema["definitions"]["Job"]["properties"]["pricing"]["default"] is None


def test_a_field_that_takes_any_object_gets_a_json_editor_among_its_tabs():
    tabs = schema_of(online_inference)["definitions"]["RequestSpec"]["properties"]["response_schema"]["anyOf"]

    assert [tab["title"] for tab in tabs] == ["Text", "JSON", "None"]
    assert "type" not in tabs[1]


SMALLEST = {"name": "j", "input": {"url": "i"}, "request": {"model": "m", "user": "u"}, "output": {"url": "o"}}


@pytest.mark.parametrize(
    ("request_changes", "is_taken"),
    [
        pytest.param({"response_schema": {"type": "object"}}, True, id="a-schema"),
        pytest.param({"response_schema": "a.b:C"}, True, id="a-name"),
        pytest.param({"response_schema": None}, True, id="null"),
        pytest.param({"response_schema": 5}, False, id="a-number"),
        pytest.param({"system": None, "messages": None, "input": None}, True, id="nulls"),
        pytest.param({"system": 5}, False, id="no-text"),
    ],
)
def test_the_form_allows_what_the_job_allows(request_changes: dict[str, Any], is_taken: bool):
    values = {"job": {**SMALLEST, "request": {**SMALLEST["request"], **request_changes}}}

    assert (validate(values, schema_of(online_inference)) == []) is is_taken


def test_calls_use_the_own_signature_of_the_flow():
    job = Job.model_validate(SMALLEST)

    assert online_inference.validate_parameters({"job": job})["job_url"] is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("url", "URL", id="abbreviation"),
        pytest.param("approve_above_usd", "Approve above (US dollars)", id="unit"),
        pytest.param("cached_input_per_mtok", "Cached input per million tokens", id="tokens"),
    ],
)
def test_a_key_is_shown_as_people_read_it(name: str, expected: str):
    assert label(name) == expected
