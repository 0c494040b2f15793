"""A job's tags reach the metadata of its requests where the provider takes them, and change no identity."""

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from promptmill.job.spec import Job, RequestSpec
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.request_tags import metadata_of
from promptmill.prompts.tokens import counter_for

OPENAI, OTHER = "https://api.openai.com/v1", "https://gateway.example.org/v1"
TAGS = {"team": "search", "cost centre": "4711"}


def spec(endpoint: str = "responses", **parameters: Any) -> RequestSpec:
    asked = "input" if endpoint == "embeddings" else "user"
    values = {"model": "gpt-6-luna", asked: "{{ text }}", "endpoint": endpoint, "parameters": parameters}
    return RequestSpec.model_validate(values)


@pytest.mark.parametrize(
    ("request_", "base_url", "takes"),
    [
        pytest.param(spec(), OPENAI, True, id="responses"),
        pytest.param(spec(), "https://eu.api.openai.com/v1", True, id="in-europe"),
        pytest.param(spec(), "https://ours.openai.azure.com/openai/v1", True, id="azure"),
        pytest.param(spec(store=False), OPENAI, False, id="responses-that-nobody-stores"),
        pytest.param(spec("chat.completions"), OPENAI, False, id="chat-is-not-stored"),
        pytest.param(spec("chat.completions", store=True), OPENAI, True, id="chat-that-is-stored"),
        pytest.param(spec("embeddings"), OPENAI, False, id="embeddings"),
        pytest.param(spec("embeddings", store=True), OPENAI, False, id="embeddings-take-none-at-all"),
        pytest.param(spec(metadata={"mine": "1"}), OPENAI, False, id="the-job-has-its-own"),
        pytest.param(spec(), OTHER, False, id="another-provider"),
        pytest.param(spec(), "https://api.openai.com.example.org/v1", False, id="a-host-that-ends-otherwise"),
    ],
)
def test_tags_go_only_to_a_provider_that_takes_them(request_: RequestSpec, base_url: str, takes: bool):
    assert metadata_of(TAGS, request_, base_url) == (TAGS if takes else {})


def test_tags_change_no_identity():
    making = RequestBuilder(spec(), ["text"], None, counter_for("gpt-6-luna"))
    before = making.build({"text": "hello"}, 0)
    making.send_also(TAGS, with_cache_key=False)
    after = making.build({"text": "hello"}, 0)

    assert after.custom_id == before.custom_id
    assert orjson.loads(after.body) == {**orjson.loads(before.body), "metadata": TAGS}


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        pytest.param({"promptmill_job": "x"}, "begin with promptmill", id="ours"),
        pytest.param({"": "x"}, "at least 1 character", id="without-a-name"),
        pytest.param({"n" * 65: "x"}, "at most 64 characters", id="long-name"),
        pytest.param({"team": "x" * 513}, "at most 512 characters", id="long-value"),
        pytest.param({"team": 7}, "valid string", id="a-number"),
        pytest.param({f"t{number}": "" for number in range(15)}, "at most 14 items", id="too-many"),
    ],
)
def test_tags_that_a_batch_could_not_take_are_refused(tags: dict[str, Any], said: str):
    values: dict[str, Any] = {
        "name": "tagged",
        "input": {"url": "rows.parquet"},
        "request": {"model": "gpt-6-luna", "user": "{{ text }}"},
        "output": {"url": "out"},
        "tags": tags,
    }
    with pytest.raises(ValidationError, match=said):
        Job.model_validate(values)
