"""Tells where an unknown key belongs: in another part of the job, or under Promptmill's own name for it."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import get_args

from pydantic import BaseModel

from promptmill.suggest import did_you_mean

USUAL_NAMES = {  # name in other systems or in the provider's API → key of a job
    "prompt": "request.user",
    "prompt_template": "request.user",
    "template": "request.user",
    "system_prompt": "request.system",
    "instructions": "request.system",
    "model_name": "request.model",
    "schema": "request.response_schema",
    "json_schema": "request.response_schema",
    "response_format": "request.response_schema",
    "output_schema": "request.response_schema",
    "rpm": "limits.requests_per_minute",
    "tpm": "limits.tokens_per_minute",
    "concurrency": "limits.max_concurrency",
    "max_workers": "limits.max_concurrency",
    "max_parallel_requests": "limits.max_concurrency",
    "max_retries": "retry.max_attempts",
    "retries": "retry.max_attempts",
    "timeout": "retry.request_timeout_seconds",
    "budget": "budget_usd",
    "max_cost": "budget_usd",
    "sep": "input.csv.delimiter",
    "sheet": "input.url, as #Sheet after the file's name",
}
PARAMETERS = frozenset(  # common keys of request.parameters
    {
        "temperature",
        "top_p",
        "seed",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "reasoning_effort",
        "reasoning",
        "service_tier",
        "logprobs",
        "frequency_penalty",
        "presence_penalty",
        "dimensions",
    }
)
_ADDRESS = frozenset({"base_url", "api_base", "api_key", "key", "endpoint_url"})


def where_it_belongs(key: str, known: Iterable[str]) -> str:
    """A sentence about a key that isn't in `known`: where it belongs in a job, else the nearest name."""
    if key in _ADDRESS:
        return (
            "Address and key don't stand in a job: set OPENAI_BASE_URL and OPENAI_API_KEY, or name a credentials block "
            "(`provider`)."
        )
    if key in PARAMETERS:
        return f"It belongs at request.parameters.{key}."
    places = [USUAL_NAMES[key]] if key in USUAL_NAMES else places_of_keys().get(key, [])
    return f"It belongs at {' or '.join(places)}." if places else did_you_mean(key, known)


@cache
def places_of_keys() -> dict[str, list[str]]:
    """Every key of a job → the sections that have it."""
    from promptmill.job.spec import Job  # made of the sections that ask

    found: dict[str, list[str]] = {}
    for path in _paths(Job, ""):
        found.setdefault(path.rpartition(".")[2], []).append(path)
    return found


def _paths(section: type[BaseModel], before: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield before + name
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _paths(part, f"{before}{name}.")
