"""What can be looked at without Prefect before anything runs: versions, storage, provider, clock."""

import platform
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version

from openai import OpenAIError

from promptmill.errors import PromptmillError
from promptmill.planning.preflight import probe_output
from promptmill.planning.prepared_job import open_output
from promptmill.provider.redaction import redact
from promptmill.provider.transport import Credentials, known_secrets, make_blocking_sdk
from promptmill.version import VERSION

SLACK_SECONDS = 60.0  # that a clock may be off; S3 refuses requests that are 15 minutes off
PROVIDER_SECONDS = 20.0
PACKAGES = ("prefect", "openai", "pyarrow", "s3fs")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    is_well: bool
    detail: str  # where it isn't well, the remedy too


def look_at_versions() -> Finding:
    """What is installed."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return Finding("versions", True, f"promptmill {VERSION}, python {platform.python_version()}, {packages}")


def look_at_storage(name: str, url: str) -> Finding:
    """Whether a folder can really be written and read back. Blocks."""
    try:
        probe_output(open_output(url))
    except PromptmillError as error:
        return Finding(name, False, str(error))
    return Finding(name, True, f"{url} was written, read back and cleaned")


def look_at_provider(credentials: Credentials) -> list[Finding]:
    """Whether the provider answers this key, and whether its clock is ours. Blocks, sends nothing that is billed."""
    try:
        client = make_blocking_sdk(credentials).with_options(max_retries=1, timeout=PROVIDER_SECONDS)
        answer = client.models.with_raw_response.list()
    except (PromptmillError, OpenAIError) as error:
        remedy = "Check OPENAI_API_KEY and OPENAI_BASE_URL, or the job's provider block, and the way to it."
        return [
            Finding(
                "provider", False, f"{type(error).__name__}: {redact(str(error), known_secrets(credentials))} {remedy}"
            )
        ]
    return [
        Finding("provider", True, f"{client.base_url} answers this key"),
        look_at_clock("provider", answer.headers.get("date"), time.time()),
    ]


def look_at_clock(whose: str, date: str | None, now: float) -> Finding:
    """Whether somebody's Date header agrees with our clock."""
    if date is None:
        return Finding("clock", True, f"the {whose} tells no time")
    off = now - parsedate_to_datetime(date).timestamp()
    if abs(off) <= SLACK_SECONDS:
        return Finding("clock", True, f"within {SLACK_SECONDS:.0f} s of the {whose}'s")
    return Finding(
        "clock", False, f"{off:+,.0f} s off the {whose}'s; S3 refuses such requests. Set this machine's clock."
    )
