"""A job's tags in the metadata of its requests, where the provider takes them there. Pure.

OpenAI takes metadata with a response that it stores: always in the Responses API unless `store` is false, and in Chat
Completions only if `store` is true (API reference, read 2026-11-24). Other providers refuse the field or ignore it.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from promptmill.job.spec import RequestSpec

_HOSTS = (".api.openai.com", ".openai.azure.com")


def metadata_of(tags: Mapping[str, str], spec: RequestSpec, base_url: str) -> dict[str, str]:
    """The metadata of each request at that address; empty where it isn't taken, or where the job gives its own."""
    is_stored = spec.parameters.get("store", spec.endpoint == "responses") is True
    takes = f".{urlsplit(base_url).hostname}".endswith(_HOSTS) and is_stored and spec.endpoint != "embeddings"
    return dict(tags) if takes and "metadata" not in spec.parameters else {}
