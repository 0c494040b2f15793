"""Where a provider's answers, files, batches and models are found, given its address. Pure.

Azure has two kinds of address. The v1 address (`/openai/v1`) is OpenAI's in all but its host. The older one wants
`?api-version=…` with every request and, for chat and embeddings, the deployment's name in the path
(`/openai/deployments/NAME/chat/completions`), while files, batches, models and responses have no deployment in theirs.
Sources: Microsoft Learn, "Azure OpenAI API version lifecycle" and the REST reference of api-version 2024-10-21; openai 3.54,
`lib/azure.py`; all read 2026-11-27.
"""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

AZURE_HOSTS = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com", ".openai.azure.us")
REFUSED_LOCATION = "x-promptmill-refused-location"  # header: where a redirect that isn't followed leads
_DEPLOYMENTS = "/deployments/"
_BY_DEPLOYMENT = frozenset({"chat/completions", "embeddings"})
_MODEL = "{model}"  # in a path, until the request's model is known


@dataclass(frozen=True, slots=True)
class Address:
    """A provider's address."""

    base_url: str  # without a slash at its end, and without a query
    query: str = ""  # goes with every request
    deployment: str | None = None  # in the path of answers; {model}: whatever model is asked

    def url(self, path: str, model: str = "") -> str:
        """The URL of `chat/completions`, `models`, `files` or the like; `model` as it is sent."""
        base = self.base_url
        if self.deployment is not None and path in _BY_DEPLOYMENT:
            base = f"{base}{_DEPLOYMENTS}{quote(model, safe='') if self.deployment == _MODEL else self.deployment}"
        return f"{base}/{path}?{self.query}" if self.query else f"{base}/{path}"

    @property
    def takes_api_key_header(self) -> bool:
        """Whether it is Azure's, which takes a key of its own in the header `api-key`."""
        return _is_azure(self.base_url) or "api-version=" in self.query


def read_address(address: str) -> Address:
    """An address as a person gives it; of an Azure resource its host is enough, or any page below it."""
    base, _, query = address.strip().partition("?")
    base = base.rstrip("/")
    before, found, deployment = base.partition(_DEPLOYMENTS)
    if found:
        return Address(before, query, deployment.split("/")[0])
    if _is_azure(base) and not urlsplit(base).path:
        base += "/openai" if _is_dated(query) else "/openai/v1"
    is_by_deployment = _is_dated(query) and base.endswith("/openai")
    return Address(base, query, _MODEL if is_by_deployment else None)


def with_version(address: str, version: str | None) -> str:
    """An address with Azure's api-version, unless it names one."""
    if not version or "api-version=" in address:
        return address
    return f"{address}{'&' if '?' in address else '?'}api-version={version}"


def azure_endpoint(endpoint: str, version: str) -> str:
    """The address of the resource that AZURE_OPENAI_ENDPOINT names, for the api-version of OPENAI_API_VERSION or for v1."""
    path, _, query = endpoint.partition("?")
    path = path.rstrip("/")
    if not urlsplit(path).path.startswith("/openai"):
        path += "/openai" if version[:1].isdigit() else "/openai/v1"
    return with_version(f"{path}?{query}" if query else path, version)


def _is_azure(base: str) -> bool:
    return (urlsplit(base).hostname or "").endswith(AZURE_HOSTS)


def _is_dated(query: str) -> bool:
    """Whether the query names an api-version of the older addresses, which are dates; those of v1 are words."""
    return any(name == "api-version" and value[:1].isdigit() for name, _, value in map(_pair, query.split("&")))


def _pair(text: str) -> tuple[str, str, str]:
    return text.partition("=")
