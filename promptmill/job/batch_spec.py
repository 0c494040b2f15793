"""How the OpenAI Batch API is used: the part `batch` of a job.

Limits of a batch file (50,000 requests, 200 MB): OpenAI's Batch guide, read 2026-11-24.
"""

from typing import Literal

from pydantic import Field

from promptmill.job.section import Section

_MAX_BATCH_REQUESTS = 50_000
_MAX_BATCH_BYTES = 200_000_000


class Batch(Section):
    """How the OpenAI Batch API is used."""

    max_requests: int = Field(
        default=_MAX_BATCH_REQUESTS, ge=1, le=_MAX_BATCH_REQUESTS, description="Most requests in a batch."
    )
    max_bytes: int = Field(
        default=_MAX_BATCH_BYTES, ge=1_000, le=_MAX_BATCH_BYTES, description="Most bytes in a batch's file."
    )
    enqueued_tokens: int | None = Field(
        default=None, ge=1, description="Tokens that may be queued at the provider. Empty: learned."
    )
    completion_window: str = Field(default="24h", description="The provider's window; OpenAI knows 24h.")
    poll_seconds: float = Field(default=60, gt=0, description="Seconds between two checks of a batch.")
    leftovers: Literal["resubmit", "online", "fail"] = Field(
        default="resubmit",
        description="Rows that expired or failed at the server: resubmit in the next batch, send online, or fail.",
    )
    canary_rows: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Rows of a job with more than 200 that are tried in a batch of their own first. 0: none.",
    )
    keep_files: bool = Field(
        default=False, description="Keep the input files at the provider after the output is published."
    )
