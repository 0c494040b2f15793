"""Identities of a request, a row, a chunk and a job. Pure.

A request's digest covers its rendered body and nothing else. So a user can change limits, budget, chunking, comments in
the code, the provider's name and the place of the output without paying for an answer twice. A changed prompt, model,
schema or parameter changes every body, and no stored answer fits any more.
The hash is BLAKE2b, the fastest of the standard library, which also takes any digest length; requests get 128 bits.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson

from promptmill.job.key_order import without_schema_text
from promptmill.job.spec import Job

SCHEMA_VERSION = 1  # version of stored answers; if you raise it, no run reads an older checkpoint
_REQUEST_DIGEST_BYTES = 16
_ROW_DIGEST_BYTES = 4
_JOB_DIGEST_BYTES = 4
_LATER: dict[str, object] = {  # keys of `request` that an earlier version didn't have, with their defaults
    "allow_empty": False,
    "same_for_all": False,
    "tier": None,
}
_NOT_ASKED = frozenset(
    {"answer_each_row", "deployment", "structured", "max_input_tokens"}
)  # keys of `request` that don't change what the model is asked


def request_digest(endpoint: str, body: bytes) -> str:
    """The identity of a request, 32 hex: equal bodies to one endpoint are the same request."""
    digest = _hasher(endpoint).copy()  # setting up a hash takes longer than hashing a usual body
    digest.update(body)
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _hasher(endpoint: str) -> "blake2b":
    return blake2b(digest_size=_REQUEST_DIGEST_BYTES, person=endpoint.encode()[:16])


def unrendered_digest(endpoint: str, templates: bytes) -> str:
    """The identity of a row whose template fails, 32 hex: it stays the same until the job's templates change."""
    return request_digest(endpoint, b"unrendered\0" + templates)


def unreadable_digest(raw: str) -> str:
    """The identity of a row that can't be read, 32 hex: it stays the same until the row's text changes."""
    return request_digest("unreadable", raw.encode(errors="surrogatepass"))


def row_digest(row_id: object, repetition: int = 0) -> str:
    """The identity of a row, 8 hex, from its id; `repetition` tells rows apart whose ids share a digest.

    A row's number is its own digest, so numbered rows never share one (up to 2**32 rows).
    """
    if isinstance(row_id, int) and not isinstance(row_id, bool) and 0 <= row_id < 2**32 and repetition == 0:
        return f"{row_id:08x}"
    text = f"{type(row_id).__name__}:{row_id}#{repetition}"
    return blake2b(text.encode(), digest_size=_ROW_DIGEST_BYTES).hexdigest()


def custom_id(request: str, row: str) -> str:
    """`llm_custom_id`: request digest and row digest; 41 characters of [0-9a-f-], unique in the dataset."""
    return f"{request}-{row}"


def chunk_key(custom_ids: Iterable[str]) -> str:
    """The key of a chunk's checkpoint, 32 hex: it covers the identities of the chunk's rows and the schema version."""
    digest = blake2b(f"promptmill-{SCHEMA_VERSION}".encode(), digest_size=_REQUEST_DIGEST_BYTES)
    digest.update("".join(custom_ids).encode())
    return digest.hexdigest()


def identifying_request(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `request` that identities cover; keys that came later count only if the job sets them."""
    known = without_schema_text(values)
    asked = {key: value for key, value in known.items() if key not in _NOT_ASKED}
    return {key: value for key, value in asked.items() if key not in _LATER or value != _LATER[key]}


def job_digest(job: Job) -> str:
    """The job's identity, 8 hex, over name, request and input.url.

    A run may replace an output with the same digest; it replaces any other output only with `--overwrite`.
    """
    identity = {
        "name": job.name,
        "request": identifying_request(job.request.model_dump(mode="json")),
        "input_url": job.input.url,
    }
    return blake2b(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS), digest_size=_JOB_DIGEST_BYTES).hexdigest()
