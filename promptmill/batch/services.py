"""A table of how other providers' Batch APIs differ from OpenAI's.

All of them charge half of their price, so `pricing.batch_discount` fits them all. For other providers, such as gateways,
a run learns from refusals: the other spelling of an endpoint, a file that must expire, a smaller file.
Sources, all read 2026-11-27: OpenAI, Batch guide; Microsoft Learn, "Azure OpenAI batch" (500 files without an expiry, 10,000
with one of 14 to 30 days; batches don't expire) and the REST reference of api-version 2024-10-21 (`/chat/completions`);
Groq, Batch processing; Together, Batch overview (100 MB); DeepInfra, Batch reference.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from promptmill.batch.record import LedgerState
from promptmill.provider.addresses import AZURE_HOSTS

_MEGABYTE = 1_000_000
FORTNIGHT_SECONDS = 14 * 86_400  # the shortest expiry that Azure accepts; longer than any batch


@dataclass(frozen=True, slots=True)
class Service:
    """One provider's Batch API; the defaults are OpenAI's."""

    hosts: tuple[str, ...] = ()  # endings of its host names
    prefix: str = "/v1"  # what comes before `/chat/completions` in a batch's endpoint and its lines' urls
    max_requests: int = 50_000
    max_bytes: int = 200 * _MEGABYTE
    file_seconds: int | None = None  # the expiry that we give its files; None: they expire by themselves


_SERVICES = (
    Service(("api.openai.com",)),
    Service(
        AZURE_HOSTS,
        max_requests=100_000,
        file_seconds=FORTNIGHT_SECONDS,
    ),
    Service(("api.groq.com",)),
    Service(("api.together.xyz", "api.together.ai"), max_bytes=100 * _MEGABYTE),
    Service(("api.deepinfra.com",)),
)
_OTHER = Service()
PREFIXES = ("/v1", "")


def service_at(address: str) -> Service:
    """The provider at a base URL; an unknown provider counts as OpenAI."""
    host = urlsplit(address).hostname or ""
    return next((service for service in _SERVICES if host.endswith(service.hosts)), _OTHER)


def prefix_of(state: LedgerState, service: Service) -> str:
    """What comes before an endpoint at this provider: the prefix that it accepted, else the table's."""
    return service.prefix if state.prefix is None else state.prefix
