"""Azure's address and key from the environment, and a key from a file that somebody renews."""

import base64
import json
from pathlib import Path

import pytest

from promptmill.batch.api import BatchProvider
from promptmill.errors import CredentialsError, ProviderRefused
from promptmill.provider.access import access_of
from promptmill.provider.addresses import read_address
from promptmill.provider.key_renewal import renew_in_time
from promptmill.provider.renewable_keys import expiry_of
from promptmill.provider.transport import Credentials, Transport, known_secrets, make_blocking_sdk
from promptmill.runs.chunk import complete_chunk
from promptmill.runs.chunk_loop import drive_chunks
from promptmill.runs.run import answering
from promptmill.simulator import Simulator, SimulatorOptions
from tests.support.jobs import MakeJob, plan

NAMES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN",
         "OPENAI_API_VERSION", "PROMPTMILL_KEY_FILE", "PROMPTMILL_KEY_COMMAND")  # fmt: skip
HOST = "https://mine.openai.azure.com"


def token_until(end: float) -> str:
    """A token that says when it ends, in seconds since the epoch."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": end}).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{claims}.signature"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no provider."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    "endpoint",
    [
        pytest.param(HOST, id="a-host"),
        pytest.param(f"{HOST}/", id="with-a-slash"),
        pytest.param(f"{HOST}/openai/v1", id="the-v1-address"),
        pytest.param(f"{HOST}/openai/v1/", id="the-v1-address-with-a-slash"),
    ],
)
def test_azure_is_asked_at_its_v1_address_with_its_key(endpoint: str, environment: pytest.MonkeyPatch):
    environment.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
    environment.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    access, sdk = access_of(Credentials()), make_blocking_sdk(Credentials())

    assert (access.base_url, access.headers["api-key"]) == (f"{HOST}/openai/v1", "azure-key")
    assert (str(sdk.base_url), sdk.api_key) == (f"{HOST}/openai/v1/", "azure-key")
    assert sdk.default_headers["api-key"] == "azure-key"
    assert "azure-key" in known_secrets(Credentials())


def test_an_entra_token_is_sent_as_a_bearer_only(environment: pytest.MonkeyPatch):
    environment.setenv("AZURE_OPENAI_ENDPOINT", HOST)
    environment.setenv("AZURE_OPENAI_AD_TOKEN", "a-token")
    access = access_of(Credentials())

    assert access.headers["Authorization"] == "Bearer a-token"
    assert "api-key" not in access.headers


def test_an_azure_address_without_a_key_says_how_to_give_one(environment: pytest.MonkeyPatch):
    environment.setenv("AZURE_OPENAI_ENDPOINT", HOST)

    with pytest.raises(CredentialsError, match="AZURE_OPENAI_API_KEY"):
        access_of(Credentials())


V1, DATED = f"{HOST}/openai/v1", "api-version=2024-10-21"


@pytest.mark.parametrize(
    ("address", "chat", "models"),
    [
        pytest.param(HOST, f"{V1}/chat/completions", f"{V1}/models", id="a-host"),
        pytest.param(f"{V1}/", f"{V1}/chat/completions", f"{V1}/models", id="v1"),
        pytest.param(
            f"{V1}?api-version=preview",
            f"{V1}/chat/completions?api-version=preview",
            f"{V1}/models?api-version=preview",
            id="v1-preview",
        ),
        pytest.param(
            f"{HOST}?{DATED}",
            f"{HOST}/openai/deployments/a%20b/chat/completions?{DATED}",
            f"{HOST}/openai/models?{DATED}",
            id="a-host-and-a-version",
        ),
        pytest.param(
            f"{HOST}/openai/deployments/mine/chat/completions?{DATED}",
            f"{HOST}/openai/deployments/mine/chat/completions?{DATED}",
            f"{HOST}/openai/models?{DATED}",
            id="as-the-portal-shows-it",
        ),
        pytest.param(
            "https://gateway/api?tenant=1",
            "https://gateway/api/chat/completions?tenant=1",
            "https://gateway/api/models?tenant=1",
            id="a-gateway-with-a-query",
        ),
    ],
)
def test_each_kind_of_address_leads_to_its_urls(address: str, chat: str, models: str):
    found = read_address(address)

    assert (found.url("chat/completions", "a b"), found.url("models")) == (chat, models)


def test_an_api_version_in_the_environment_asks_by_deployment(environment: pytest.MonkeyPatch):
    environment.setenv("AZURE_OPENAI_ENDPOINT", HOST)
    environment.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    environment.setenv("OPENAI_API_VERSION", "2024-10-21")
    access = access_of(Credentials())

    assert access.address.url("embeddings", "mine") == f"{HOST}/openai/deployments/mine/embeddings?{DATED}"
    assert access.address.url("responses", "mine") == f"{HOST}/openai/responses?{DATED}"


@pytest.mark.parametrize(
    ("key", "is_sent"), [("a-key-of-azure", True), (token_until(2e9), False)], ids=["key", "token"]
)
def test_a_block_s_key_of_azure_goes_in_its_own_header_and_a_token_does_not(key: str, is_sent: bool):
    access = access_of(Credentials(api_key=key, base_url=HOST))

    assert ("api-key" in access.headers) == is_sent
    assert access.headers["Authorization"] == f"Bearer {key}"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_a_job_that_named_openai_so_far_still_reaches_it(name: str, environment: pytest.MonkeyPatch):
    environment.setenv("OPENAI_API_KEY", "sk-1")
    environment.setenv(name, "sk-1" if name == "OPENAI_API_KEY" else "http://localhost:1/v1")
    environment.setenv("AZURE_OPENAI_ENDPOINT", HOST)
    environment.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    access = access_of(Credentials())

    assert "azure" not in access.base_url
    assert access.headers["Authorization"] == "Bearer sk-1"


async def test_a_key_that_is_renewed_in_its_file_is_sent_from_then_on(environment: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "key"
    file.write_text("sk-the-first-key\n")
    environment.setenv("PROMPTMILL_KEY_FILE", str(file))
    async with Transport(Credentials(), "chat.completions", 1, 5.0) as transport:
        is_same = await transport.renew(Credentials())
        file.write_text("sk-the-second-key\n")
        is_new = await transport.renew(Credentials())

    assert (is_same, is_new) == (False, True)
    assert {"sk-the-first-key", "sk-the-second-key"} <= set(transport.secrets)


async def test_a_run_without_a_server_takes_up_a_key_that_is_renewed_in_its_file(
    environment: pytest.MonkeyPatch, tmp_path: Path, make_job: MakeJob, simulator: Simulator
):
    file = tmp_path / "key"
    file.write_text("sk-the-first-key")
    environment.setenv("PROMPTMILL_KEY_FILE", str(file))
    environment.setenv("OPENAI_BASE_URL", simulator.base_url)
    run = plan(make_job(20, limits={"max_concurrency": 4}), Credentials())
    async with answering(run) as engine:
        simulator.configure(api_key="sk-the-second-key")
        file.write_text("sk-the-second-key")
        await drive_chunks(engine, complete_chunk, complete_chunk)

    assert (engine.progress.done, engine.progress.failed) == (20, 0)


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_key_file_without_a_key_is_named(content: str | None, environment: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    environment.setenv("PROMPTMILL_KEY_FILE", str(file))

    with pytest.raises(CredentialsError, match="PROMPTMILL_KEY_FILE"):
        access_of(Credentials())


def test_the_key_is_what_the_key_command_prints(environment: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "key"
    file.write_text("sk-printed-by-a-command")
    environment.setenv("PROMPTMILL_KEY_COMMAND", f"cat '{file}'")

    assert access_of(Credentials()).headers["Authorization"] == "Bearer sk-printed-by-a-command"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param("false", "ends with exit code 1", id="fails"),
        pytest.param("true", "prints nothing", id="silent"),
        pytest.param("/no/such/command", "can't be run", id="missing"),
        pytest.param("echo 'a", "can't be run", id="a-quote-without-an-end"),
    ],
)
def test_a_key_command_without_a_key_is_named(command: str, said: str, environment: pytest.MonkeyPatch):
    environment.setenv("PROMPTMILL_KEY_COMMAND", command)

    with pytest.raises(CredentialsError, match=f"the key command {said}.*PROMPTMILL_KEY_COMMAND"):
        access_of(Credentials())


def test_the_batch_client_sends_the_key_that_is_there_when_it_asks(environment: pytest.MonkeyPatch, tmp_path: Path):
    """A batch run waits for hours, and a token lasts one."""
    file = tmp_path / "key"
    environment.setenv("PROMPTMILL_KEY_FILE", str(file))
    with Simulator(SimulatorOptions(api_key="sk-the-second-key")) as simulator:
        environment.setenv("OPENAI_BASE_URL", simulator.base_url)
        file.write_text("sk-the-first-key")
        provider = BatchProvider(Credentials())
        with pytest.raises(ProviderRefused, match=r"Incorrect API key provided: \S*\*"):
            provider.find_batch("none", "none", 0.0)
        file.write_text("sk-the-second-key")

        assert provider.find_batch("none", "none", 0.0) is None
    assert {"sk-the-first-key", "sk-the-second-key"} <= set(provider.secrets)


async def test_a_token_that_says_its_end_is_renewed_before_it():
    clock, ends, renewed = [1000.0], [4600.0], list[float]()

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    async def renew() -> bool:
        renewed.append(clock[0])
        if len(renewed) == 2:
            raise CredentialsError("not now")
        ends[0] += 3600.0
        return True

    await renew_in_time(renew, lambda: ends[0] if len(renewed) < 4 else None, sleep, lambda: clock[0])

    assert renewed == [4300.0, 7900.0, 7930.0, 11500.0]


@pytest.mark.parametrize(
    ("key", "end"),
    [
        (token_until(1_800_000_000), 1_800_000_000.0),
        ("sk-proj-1234", None),
        ("a.b.c", None),
        ("a.eyJ9.c", None),
        ("a.W10.c", None),
    ],
)
def test_only_a_token_says_when_it_ends(key: str, end: float | None):
    assert expiry_of(key) == end


def test_a_block_with_a_key_reads_no_file(environment: pytest.MonkeyPatch, tmp_path: Path):
    environment.setenv("PROMPTMILL_KEY_FILE", str(tmp_path / "none"))

    assert access_of(Credentials(api_key="sk-block")).headers["Authorization"] == "Bearer sk-block"
