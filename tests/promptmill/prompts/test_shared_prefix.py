"""Prompts that begin alike are sent so that a provider which caches prompts bills most of them at its cached price."""

import asyncio
from typing import Any

import pytest

from promptmill.batch.session import open_batches
from promptmill.job.spec import RequestSpec
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.shared_prefix import takes_cache_key
from promptmill.prompts.tokens import TokenCounter, estimate_tokens
from promptmill.provider.transport import Credentials
from promptmill.records import Request
from promptmill.runs.run import PendingRun
from promptmill.simulator import Simulator
from tests.support.batching import carry_batches
from tests.support.jobs import MakeJob, carry_out, plan_any

COUNTER = TokenCounter(estimate_tokens, "4 bytes a token", is_exact=False)
RULES = "Answer as the rules of the house say. " * 158  # 6,004 characters: 1,501 tokens


def builder(**request: Any) -> RequestBuilder:
    spec = RequestSpec.model_validate({"model": "gpt-6-luna", **request})
    return RequestBuilder(spec, ["text", "title"], None, COUNTER)


@pytest.mark.parametrize(
    ("request_", "first", "later", "words"),
    [
        pytest.param({"system": RULES, "user": "{{ text }}"}, 1_501, 0, "bills about 1,408 of them", id="rules-first"),
        pytest.param({"user": "{{ text }}\n" + RULES}, 0, 1_502, "(request.user)", id="rules-after-the-column"),
        pytest.param(
            {"system": "Of {{ title }}.", "user": RULES + "{{ text }}"}, 0, 1_501, "(request.system)", id="title-first"
        ),
        pytest.param({"user": RULES + "{{ text }}" + RULES}, 1_501, 1_501, "stand after a column", id="half-and-half"),
        pytest.param({"system": "Be brief.", "user": "{{ text }}"}, 3, 0, None, id="too-short-to-be-cached"),
        pytest.param(
            {"user": "{% if text %}{{ text }}{% endif %}" + RULES}, 0, 1_501, "(request.user)", id="a-condition"
        ),
    ],
)
def test_what_is_the_same_for_every_row_is_counted_before_and_after_the_first_column(
    request_: dict[str, str], first: int, later: int, words: str | None
):
    shape = builder(**request_).shape

    assert shape.first_tokens == pytest.approx(first, abs=12)  # a message itself takes a few
    assert shape.later_tokens == pytest.approx(later, abs=12)
    assert shape.note is None if words is None else words in (shape.note or "")


def made(texts: list[str], **request: Any) -> tuple[RequestBuilder, list[Request]]:
    making = builder(**request)
    return making, [making.build({"text": text}, i) for i, text in enumerate(texts)]


def test_rows_over_one_document_are_sent_one_after_another():
    documents = ["a" * 5_000, "b" * 5_000]
    making, requests = made([f"{documents[i % 2]} question {i}" for i in range(8)], user="{{ text }}")
    order = [requests.index(request) for request in making.send_order(requests)]

    assert order == [0, 2, 4, 6, 1, 3, 5, 7]


def test_rows_that_share_nothing_long_enough_are_sent_in_input_order():
    making, requests = made([f"{'same start ' * 20}{i}" for i in range(9)], system=RULES, user="{{ text }}")

    assert making.send_order(requests) == requests


@pytest.mark.parametrize(
    ("url", "takes"),
    [
        pytest.param("https://api.openai.com/v1", True, id="openai"),
        pytest.param("https://eu.api.openai.com/v1", True, id="openai-in-europe"),
        pytest.param("https://api.mistral.ai/v1", True, id="mistral"),
        pytest.param("https://api.openai.com.example.org/v1", False, id="a-host-that-ends-otherwise"),
        pytest.param("https://notapi.openai.com/v1", False, id="a-host-of-another-name"),
        pytest.param("http://127.0.0.1:8000/v1", False, id="a-local-server"),
    ],
)
def test_the_key_of_a_prefix_goes_only_to_a_provider_that_knows_it(url: str, takes: bool):
    assert takes_cache_key(url) == takes


def test_the_key_of_a_prefix_changes_no_identity():
    making, (before,) = made(["hello"], system=RULES, user="{{ text }}")
    making.send_also({}, with_cache_key=True)
    after = making.build({"text": "hello"}, 0)

    assert after.custom_id == before.custom_id
    assert making.preview(after) == {
        **making.preview(before),
        "prompt_cache_key": making.preview(after)["prompt_cache_key"],
    }


@pytest.mark.parametrize(
    "request_",
    [{"user": "{{ text }}"}, {"system": RULES, "parameters": {"prompt_cache_key": "mine"}, "user": "{{ text }}"}],
)
def test_a_job_without_a_cacheable_prefix_or_with_a_key_of_its_own_is_sent_as_it_is(request_: dict[str, Any]):
    making, (before,) = made(["hello"], **request_)
    making.send_also({}, with_cache_key=True)

    assert making.build({"text": "hello"}, 0) == before


def test_a_later_step_of_batches_sends_the_same_key_as_the_plan(make_job: MakeJob):
    credentials = Credentials(api_key="test", base_url="https://api.openai.com/v1")
    job = make_job(2, request__system=RULES, request__response_schema=None)
    work = open_batches(job, credentials, lambda: plan_any(job, credentials, mode="batch"))
    planned = work.plan()
    assert isinstance(planned, PendingRun)
    bodies = [prepared.builder.build({"text": "x"}, 0).body for prepared in (planned.prepared, work.prepare())]

    assert b'"prompt_cache_key"' in bodies[0]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_a_long_system_prompt_is_billed_at_the_cached_price_for_nearly_all_rows(
    mode: str, make_job: MakeJob, simulator: Simulator
):
    simulator.configure(prompt_cache_seconds=300.0, batch_seconds=0.2)
    credentials = Credentials(api_key="test", base_url=simulator.base_url)
    job = make_job(200, request__system=RULES, request__response_schema=None, batch__poll_seconds=0.1)
    run = plan_any(job, credentials, mode="batch" if mode == "batch" else "online")
    assert isinstance(run, PendingRun)
    possible = run.preflight.plan.rows * run.prepared.builder.shape.cacheable_tokens
    manifest = asyncio.run(carry_batches(job, credentials) if mode == "batch" else carry_out(job, credentials))

    assert manifest.succeeded == 200
    assert manifest.cached_input_tokens >= 0.95 * possible
