"""What `promptmill doctor` can look at without Prefect: versions, storage, what deployed runs may use, provider, clock."""

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path

from promptmill.allowed_urls import URLS_SETTING, describe_rules, listed, locate, problems
from promptmill.errors import PromptmillError
from promptmill.planning.preflight import probe_output
from promptmill.planning.prepared_job import open_output
from promptmill.provider.redaction import redact
from promptmill.provider.transport import Credentials, known_secrets, make_blocking_sdk
from promptmill.public_url import public_url
from promptmill.version import VERSION

_SLACK_SECONDS = 60.0  # by which a clock may be off; S3 refuses requests that are 15 minutes off
_PROVIDER_SECONDS = 20.0
_STATE_SETTING = "PROMPTMILL_STATE_URL"
_PACKAGES = ("prefect", "openai", "pyarrow", "s3fs")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found."""

    name: str
    is_well: bool
    detail: str  # with the remedy if it isn't well


def look_at_versions() -> Finding:
    """The versions of Promptmill, of Python and of the packages that matter."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return Finding("versions", True, f"promptmill {VERSION}, python {platform.python_version()}, {packages}")


def look_at_storage(name: str, url: str) -> Finding:
    """Whether we can really write to a folder and read back what we wrote. Blocks."""
    try:
        probe_output(open_output(url))
    except PromptmillError as error:
        return Finding(name, False, str(error))
    return Finding(name, True, f"{public_url(url)} was written, read back and cleaned")


def look_at_allowed(environment: Mapping[str, str]) -> Finding:
    """What deployed runs may use if their worker has this environment. An entry that allows nothing isn't well."""
    wrong = problems(listed(environment, URLS_SETTING))
    if wrong:
        remedy = f"List absolute paths and whole URLs in {URLS_SETTING}, separated by commas."
        return Finding("allowed", False, f"{'; '.join(wrong)}. {remedy}")
    return Finding("allowed", True, f"deployed runs of a worker with this environment: {describe_rules(environment)}")


def look_at_state(url: str, pool_type: str | None, is_container: bool) -> Finding | None:
    """A warning if the record of batches in flight lies where a container loses it; None otherwise.

    `pool_type` is None if nobody knows it. `is_container`: whether this process runs in a container.
    """
    if locate(url).kind != "local":
        return None
    remedy = (
        "advance-batches then no longer finds the jobs with batches in flight. Set "
        f"{_STATE_SETTING} to a URL that every worker reaches, such as s3://lake/promptmill/."
    )
    if pool_type not in {None, "process"}:
        lost = f"each run of a {pool_type} pool has a disk of its own and loses it at its end"
        return Finding("state", False, f"{public_url(url)} is a local folder; {lost}, and {remedy}")
    if is_container:
        lost = "this is a container, which loses it when it is replaced unless it is a volume"
        return Finding("state", True, f"note: {public_url(url)} is a local folder; {lost}, and {remedy}")
    return None


def is_in_container(environment: Mapping[str, str]) -> bool:
    """Whether this process runs in a container of Docker's or of Kubernetes'."""
    return "KUBERNETES_SERVICE_HOST" in environment or Path("/.dockerenv").exists()


def look_at_provider(credentials: Credentials) -> list[Finding]:
    """Whether the provider accepts this key, and whether its clock agrees with ours. Blocks; sends nothing that is billed."""
    from openai import OpenAIError

    try:
        client = make_blocking_sdk(credentials).with_options(max_retries=1, timeout=_PROVIDER_SECONDS)
        answer = client.models.with_raw_response.list()
    except (PromptmillError, OpenAIError) as error:
        remedy = "Check OPENAI_API_KEY and OPENAI_BASE_URL, or the job's provider block, and the network."
        return [
            Finding(
                "provider", False, f"{type(error).__name__}: {redact(str(error), known_secrets(credentials))} {remedy}"
            )
        ]
    return [
        Finding("provider", True, f"{public_url(str(client.base_url))} answers this key"),
        look_at_clock("provider", answer.headers.get("date"), time.time()),
    ]


def look_at_clock(whose: str, date: str | None, now: float) -> Finding:
    """Whether a server's Date header agrees with our clock."""
    if date is None:
        return Finding("clock", True, f"the {whose} doesn't say what time it is")
    off = now - parsedate_to_datetime(date).timestamp()
    if abs(off) <= _SLACK_SECONDS:
        return Finding("clock", True, f"within {_SLACK_SECONDS:.0f} s of the {whose}'s")
    return Finding(
        "clock", False, f"{off:+,.0f} s off the {whose}'s; S3 refuses such requests. Set this machine's clock."
    )
