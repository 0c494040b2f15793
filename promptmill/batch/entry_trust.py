"""Decides which registered jobs a command may follow: others may write to the registry, and a command has its user's rights.

A deployed run opens only what the operator lists. A command opens every place that its user names, and an entry that
somebody else wrote could name any place. So a command follows three kinds of entries: an entry that this user's own
commands and workers wrote, which a seal proves (seals.py); an entry that says the same as the job file that the user
gives; and an entry that names only object stores and what PROMPTMILL_ALLOWED_URLS and PROMPTMILL_ALLOWED_MODULES list.
"""

import os
from collections.abc import Iterator

from promptmill.allowed_urls import (
    MODULES_SETTING,
    URLS_SETTING,
    Rules,
    is_listed_module,
    locate,
    read_rules,
    verdict_on_stranger,
)
from promptmill.errors import SetupError
from promptmill.job.key_order import is_schema_text
from promptmill.job.spec import Job
from promptmill.prompts.response_schema import named_module
from promptmill.public_url import public_url

STATE_SETTING = "PROMPTMILL_STATE_URL"


def require_followable(job: Job, *, is_ours: bool, named: Job | None) -> None:
    """Raises SetupError if a command may not follow an entry with this job. Blocks.

    `is_ours`: whether the entry is sealed. `named`: the job of the file that the user gave.
    """
    if is_ours or (named is not None and named.model_copy(update={"output": job.output}) == job):
        return
    rules = read_rules(os.environ)
    for place, name, reason in closed_places(job, rules):
        raise SetupError(
            f"the registered job {job.name!r} names {place} {public_url(name)!r}, which {reason}, and no command of yours "
            f"wrote the entry; others can write to {STATE_SETTING}. Give the job's own file (promptmill batches … "
            f"JOB), or list the place in {URLS_SETTING} or {MODULES_SETTING}."
        )


def closed_places(job: Job, rules: Rules) -> Iterator[tuple[str, str, str]]:
    """Key, name and reason of each place that the command may not open or import for such a job."""
    schema = job.request.response_schema
    places = [*(("input.url", url) for url in job.input.urls), ("output.url", job.output.url)]
    if isinstance(schema, str) and (module := named_module(schema)) is not None:
        if not is_listed_module(module, rules):
            yield "request.response_schema", schema, "is in a module that isn't listed"
    elif isinstance(schema, str) and not is_schema_text(schema):
        places.append(("request.response_schema", schema))
    for url in job.input.urls:
        if "{{" in url or "{%" in url:  # it would lead elsewhere than `locate` says
            yield "input.url", url, "is a template, which the entries of runs never have"
    for place, url in places:
        if (reason := verdict_on_stranger(locate(url), rules)) is not None:
            yield place, url, reason
