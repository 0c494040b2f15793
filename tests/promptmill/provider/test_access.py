"""Address and headers are what the openai SDK would send, found without importing it."""

import subprocess
import sys
from collections.abc import Mapping

import openai
import pytest

from promptmill.errors import CredentialsError
from promptmill.provider.access import access_of, base_url_of
from promptmill.provider.credentials import Credentials
from tests.support.paths import ROOT

KEY = {"OPENAI_API_KEY": "sk-1"}
SDK_ALONE = "X-Stainless-"  # what the SDK says of itself


@pytest.mark.parametrize(
    ("environment", "given"),
    [
        pytest.param(KEY, Credentials(), id="a-key-alone"),
        pytest.param({**KEY, "OPENAI_BASE_URL": "http://local/v1/"}, Credentials(), id="address"),
        pytest.param({**KEY, "OPENAI_ORG_ID": "o", "OPENAI_PROJECT_ID": "p"}, Credentials(), id="organization"),
        pytest.param({**KEY, "OPENAI_ORG_ID": ""}, Credentials(), id="empty-organization"),
        pytest.param({**KEY, "OPENAI_CUSTOM_HEADERS": "a: b\nX-Y:z\n\nnone"}, Credentials(), id="headers"),
        pytest.param({**KEY, "OPENAI_CUSTOM_HEADERS": "Authorization: Basic x"}, Credentials(), id="authorization"),
        pytest.param({**KEY, "OPENAI_ADMIN_KEY": "sk-admin"}, Credentials(), id="admin-key-beside-it"),
        pytest.param(
            {**KEY, "OPENAI_BASE_URL": "http://other/v1", "OPENAI_ORG_ID": "other"},
            Credentials("sk-2", "https://block/v1", "o", "p", {"X": "y", "Authorization": "Basic y"}),
            id="a-block",
        ),
    ],
)
def test_address_and_headers_are_those_of_the_sdk(
    environment: Mapping[str, str], given: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sdk = openai.AsyncOpenAI(
        api_key=given.api_key,
        base_url=given.base_url,
        organization=given.organization,
        project=given.project,
        default_headers=given.default_headers,
    )
    sent = {**sdk.default_headers, **sdk.auth_headers}
    theirs = {name: value for name, value in sent.items() if isinstance(value, str) and not name.startswith(SDK_ALONE)}
    access = access_of(given)

    assert access.base_url == str(sdk.base_url).rstrip("/")
    assert {**access.headers, "User-Agent": ""} == {**theirs, "User-Agent": ""}


def test_without_a_key_there_is_no_access() -> None:
    with pytest.raises(CredentialsError, match="OPENAI_API_KEY"):
        access_of(Credentials())


@pytest.mark.parametrize("address", ["", " ", "\n"])
def test_an_empty_address_is_named_before_anything_is_sent(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)

    with pytest.raises(CredentialsError, match="OPENAI_BASE_URL is set and empty"):
        access_of(Credentials("sk-1"))


def test_access_shows_nothing_of_itself() -> None:
    assert "sk-1" not in repr(access_of(Credentials("sk-1")))


@pytest.mark.parametrize("module", ["promptmill.standalone.running", "flows.command.as_flow", "flows.online_inference"])
def test_what_answers_rows_online_imports_no_sdk(module: str) -> None:
    code = f"import sys, {module}; print('openai' in sys.modules, 'pandas' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout.split()[0] == "False"


@pytest.mark.parametrize(
    ("environment", "given", "address"),
    [
        pytest.param({}, None, "https://api.openai.com/v1", id="openai"),
        pytest.param({"OPENAI_BASE_URL": "http://localhost:1/v1"}, None, "http://localhost:1/v1", id="environment"),
        pytest.param({"OPENAI_BASE_URL": "http://localhost:1/v1"}, "http://b/v1", "http://b/v1", id="block"),
        pytest.param(
            {"AZURE_OPENAI_ENDPOINT": "https://ours.openai.azure.com"},
            None,
            "https://ours.openai.azure.com/openai/v1",
            id="azure",
        ),
    ],
)
def test_the_address_is_known_without_a_key(
    environment: dict[str, str], given: str | None, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert base_url_of(Credentials(base_url=given)) == address
