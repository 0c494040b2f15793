"""The block that keeps a provider's key with its address: made from the environment, and never more open than that."""

import json

import pytest
from pydantic import SecretStr

from promptmill.provider.access import access_of
from tasks.server.credentials import ProviderCredentials, SecretDict, credentials_of, load_credentials
from tasks.server.resources import provider

pytestmark = pytest.mark.xdist_group("prefect")
GATEWAY = "https://gateway.example.com/v1"


async def make(name: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> ProviderCredentials:
    """Bootstrap a block with this environment."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    need = provider(name)
    if not await need.is_there():
        await need.make()
    assert await need.is_there()
    return await ProviderCredentials.aload(name)


async def test_a_new_key_never_keeps_an_old_address_and_headers_stay(prefect: str, monkeypatch: pytest.MonkeyPatch):
    block = await make("moved", monkeypatch, OPENAI_API_KEY="sk-old", OPENAI_BASE_URL=GATEWAY)
    block.default_headers = SecretDict({"X-Token": "token-that-must-not-show"})
    await block.asave("moved", overwrite=True)
    monkeypatch.delenv("OPENAI_BASE_URL")
    kept = await make("moved", monkeypatch, OPENAI_API_KEY="sk-old")
    changed = await make("moved", monkeypatch, OPENAI_API_KEY="sk-new")

    assert kept.base_url == GATEWAY  # the environment names none: it stays as somebody set it
    assert (changed.api_key.get_secret_value(), changed.base_url) == ("sk-new", None)
    assert changed.default_headers.get_secret_value() == {"X-Token": "token-that-must-not-show"}


async def test_another_address_in_the_environment_is_noticed(prefect: str, monkeypatch: pytest.MonkeyPatch):
    await make("addressed", monkeypatch, OPENAI_API_KEY="sk-one")
    block = await make("addressed", monkeypatch, OPENAI_BASE_URL=GATEWAY)

    assert (block.api_key.get_secret_value(), block.base_url) == ("sk-one", GATEWAY)


async def test_headers_are_as_secret_as_the_key(prefect: str):
    block = ProviderCredentials(
        api_key=SecretStr("key-that-must-not-show"), default_headers=SecretDict({"X-Token": "token-that-must-not-show"})
    )
    await block.asave("secret", overwrite=True)
    document = (await ProviderCredentials.aload("secret")).model_dump_json()
    credentials = await load_credentials("secret")

    assert "must-not-show" not in f"{block!r} {document} {json.dumps(block.model_dump(mode='json'), default=str)}"
    assert "must-not-show" not in repr(credentials)
    assert dict(credentials.default_headers or {}) == {"X-Token": "token-that-must-not-show"}
    assert ProviderCredentials._to_block_schema(block_type_id=None).fields["secret_fields"] == [  # pyright: ignore
        "api_key",
        "default_headers.*",
    ]


@pytest.mark.parametrize(
    ("address", "version", "chat"),
    [
        ("https://a.openai.azure.com", None, "https://a.openai.azure.com/openai/v1/chat/completions"),
        (
            "https://a.openai.azure.com",
            "2024-10-21",
            "https://a.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        ("https://local/v1", None, "https://local/v1/chat/completions"),
    ],
)
def test_a_block_names_an_azure_resource_by_its_endpoint_and_version(
    address: str, version: str | None, chat: str
) -> None:
    block = ProviderCredentials.model_validate({"api_key": "key", "base_url": address, "api_version": version})

    assert access_of(credentials_of(block)).address.url("chat/completions", "d") == chat
