"""What a cache holds of a plan's requests. It is looked up before anything is sent, so that the estimate knows it too."""

import os
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from promptmill.cache.entries import Digests, Source
from promptmill.cache.look_up import Hits, look_up
from promptmill.errors import JobError
from promptmill.job.spec import Job
from promptmill.places import shown_place
from promptmill.planning.sharing import Distinct
from promptmill.provider.access import base_url_of
from promptmill.provider.credentials import Credentials
from promptmill.public_url import public_text
from promptmill.storage import Storage

_CACHE_SETTING = "PROMPTMILL_CACHE_URL"
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Cached:
    """The requests of a plan that a cache answers, and what a run adds to that cache."""

    storage: Storage
    source: Source
    distinct: Distinct
    hits: Hits

    @property
    def rows(self) -> int:
        """How many requests needn't be sent."""
        return len(self.hits.wanted)

    @property
    def tokens(self) -> int:
        """Their input tokens."""
        return int(self.distinct.tokens[self.hits.wanted].sum())

    @property
    def digests(self) -> Digests:
        """The digests that were looked up."""
        return Digests(self.distinct.high, self.distinct.low)

    @property
    def known(self) -> Digests:
        """The digests of the requests that the cache answers."""
        return Digests(self.distinct.high[self.hits.wanted], self.distinct.low[self.hits.wanted])


def cache_of(job: Job) -> Storage | None:
    """The cache of a job; None where it has none, or where each row wants an answer of its own.

    Raises: JobError when it can't be opened or a deployed run may not use it.
    """
    if not job.request.shares_answers:
        return None
    if job.cache:
        return open_cache(job.cache, "cache")
    url = os.environ.get(_CACHE_SETTING, "").strip()
    return open_cache(url, None) if url and job.cache is None else None


def open_cache(url: str, place: str | None) -> Storage:
    """A cache's folder; `place` is what names it, or None for the operator's setting. Raises: JobError."""
    try:
        return Storage(url, place)
    except (ValueError, ImportError, OSError) as error:
        raise JobError(
            f"the cache {shown_place(url)!r} can't be opened: {public_text(str(error), url)}. A cache is a folder at a URL "
            f"that fsspec knows ({_CACHE_SETTING if place is None else place}). Correct it or leave it out."
        ) from error


def _source_of(job: Job, credentials: Credentials) -> Source:
    """Where the answers of a job come from. Raises: CredentialsError."""
    return Source(origin_of(base_url_of(credentials)), job.request.endpoint)


def origin_of(base_url: str) -> str:
    """A provider's scheme, host and port."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def look_up_plan(storage: Storage, job: Job, credentials: Credentials, distinct: Distinct) -> Cached:
    """What a cache holds of these requests. Blocks. Raises: CredentialsError."""
    source = _source_of(job, credentials)
    days = job.cache_max_age_days
    oldest = float("-inf") if days is None else time.time() - days * _DAY_SECONDS
    found = look_up(storage, Digests(distinct.high, distinct.low), source, oldest)
    return Cached(storage, source, distinct, found)


def only_hits(cached: Cached) -> Cached:
    """The same without what nobody needs any more: the requests that the cache doesn't answer."""
    chosen, distinct = cached.hits.wanted, cached.distinct
    kept = Distinct(distinct.high[chosen], distinct.low[chosen], distinct.rows[chosen], distinct.tokens[chosen])
    hits = cached.hits
    renumbered = Hits(np.arange(len(chosen)), hits.segment, hits.group, hits.row, hits.names, hits.sizes)
    return Cached(cached.storage, cached.source, kept, renumbered)
