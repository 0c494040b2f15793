"""Keys and secret headers go to the given origin only, and come back in no text."""

import asyncio
import base64
import gzip
import json
import traceback
import zlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptmill.batch.api import BatchProvider, NotNow
from promptmill.errors import CredentialsError, ProviderRefused
from promptmill.job.spec import Retry
from promptmill.limits.budget import Budget
from promptmill.limits.places import Places
from promptmill.limits.pricing import prices_for
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.planning.doctor import look_at_provider
from promptmill.provider.access import access_of
from promptmill.provider.billing import Billing
from promptmill.provider.client import Client
from promptmill.provider.credentials import usable
from promptmill.provider.redaction import HIDDEN, redact, secrets_of
from promptmill.provider.transport import Credentials, RawAnswer, Transport, TransportError
from promptmill.records import Request, Result
from promptmill.runs.completion import complete_request
from promptmill.stop import Slot, Stop
from tests.support.echoing import Provider, Reply, answering
from tests.support.jobs import MakeJob
from tests.support.odd_answers import WELL_FORMED, with_field

KEY = 'sk-test+0123456789/"abc'
GATEWAY = "gw-9876543210-token"
ROW = Request("0" * 32 + "-00000001", b"{}", 20, 64)


def credentials(provider: Provider) -> Credentials:
    return Credentials(api_key=KEY, base_url=provider.url, default_headers={"X-Gateway": GATEWAY})


def quoted(headers: dict[str, str]) -> str:
    """What a provider was sent, in its own words."""
    return f"you sent {headers['authorization']} and {headers['x-gateway']}"


async def answer_row(provider: Provider) -> Result:
    """One row's result, by one attempt."""
    async with Transport(credentials(provider), "chat.completions", 2, 5.0) as transport:
        client = Client(
            sender=transport,
            endpoint="chat.completions",
            limiter=RateLimiter(),
            budget=Budget(None),
            billing=Billing(prices_for("gpt-6-luna", None), None, len),
            retry=Retry(max_attempts=1),
            stop=Stop(),
            secrets=transport.secrets,
        )
        slot = Slot(Places(1))
        await slot.acquire()
        return await complete_request(client, ROW, slot, None)


def assert_clean(text: str) -> None:
    """No secret, in no spelling."""
    for secret in (KEY, GATEWAY, json.dumps(KEY)[1:-1], repr(KEY)[1:-1]):
        assert secret not in text


CHAT = WELL_FORMED["chat.completions"]
BODIES: dict[str, Any] = {
    "error": (400, lambda words: {"error": {"message": words, "code": words, "type": words}}),
    "detail": (422, lambda words: {"detail": [words]}),
    "page": (400, lambda words: words),
    "model": (200, lambda words: with_field(CHAT, ("model",), words)),
    "id": (200, lambda words: with_field(CHAT, ("id",), words)),
    "finish-reason": (200, lambda words: with_field(CHAT, ("choices", 0, "finish_reason"), words)),
    "text": (200, lambda words: with_field(CHAT, ("choices", 0, "message", "content"), words)),
    "parts": (200, lambda words: with_field(CHAT, ("choices", 0, "message", "content"), [{"text": words}])),
    "refusal": (200, lambda words: with_field(CHAT, ("choices", 0, "message", "refusal"), words)),
    "server-error": (500, lambda words: {"error": words}),
    "rate-limit": (400, lambda words: {"error": {"message": "x" * 480 + words}}),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_key_that_the_provider_quotes_is_in_no_result(name: str) -> None:
    status, body = BODIES[name]

    def reply(headers: dict[str, str]) -> Reply:
        value = body(quoted(headers))
        return Reply(status, value.encode() if isinstance(value, str) else orjson.dumps(value))

    with answering(reply) as provider:
        result = asyncio.run(answer_row(provider))

    assert_clean(repr(result))
    assert HIDDEN in repr(result) or name == "rate-limit"
    assert provider.seen[0][1]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_key_that_stops_the_run_is_in_no_exception(status: int) -> None:
    def reply(headers: dict[str, str]) -> Reply:
        return Reply(status, orjson.dumps({"error": {"message": quoted(headers)}}))

    with answering(reply) as provider, pytest.raises(ProviderRefused) as stopped:
        asyncio.run(answer_row(provider))

    assert_clean("".join(traceback.format_exception(stopped.value)))
    assert HIDDEN in str(stopped.value)


@pytest.mark.parametrize("status", [400, 401, 404, 429])
def test_the_batch_api_quotes_no_key(status: int, make_job: MakeJob) -> None:
    def reply(headers: dict[str, str]) -> Reply:
        error = {"message": quoted(headers), "code": "x"}
        return Reply(status, orjson.dumps({"error": error}), {"retry-after": "0"})

    job = make_job(1)
    with answering(reply) as provider:
        batches = BatchProvider(credentials(provider))
        with pytest.raises((ProviderRefused, NotNow)) as refused:
            batches.create("file-1", "/v1/chat/completions", "24h", "key", job)
        findings = look_at_provider(credentials(provider))

    assert_clean("".join(traceback.format_exception(refused.value)))
    assert_clean(repr(findings))


def test_a_batch_that_failed_quotes_no_key() -> None:
    def reply(headers: dict[str, str]) -> Reply:
        errors = {"data": [{"code": "x", "message": quoted(headers)}]}
        return Reply(200, orjson.dumps({"id": "b", "status": "failed", "created_at": 1, "errors": errors}))

    with answering(reply) as provider:
        view = BatchProvider(credentials(provider)).retrieve("b")

    assert view is not None
    assert_clean(repr(view))
    assert HIDDEN in repr(view)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_takes_key_headers_or_rows_to_another_origin(status: int, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"{}\n")
    with (
        answering(lambda _: Reply(200, b"{}")) as other,
        answering(lambda _: Reply(status, b"", {"location": f"{other.url}/elsewhere?token=1"})) as provider,
    ):
        batches = BatchProvider(credentials(provider))
        with pytest.raises(ProviderRefused, match=r"a redirect to http://127\.0\.0\.1;.*base_url"):
            batches.upload(tmp_path / "rows.jsonl", "rows.jsonl", 0.0)
        with pytest.raises(ProviderRefused, match="a redirect"):
            batches.retrieve("b")
        with pytest.raises(ProviderRefused, match="a redirect"):
            asyncio.run(answer_row(provider))

    assert other.seen == []


def test_a_redirect_within_the_origin_is_followed_by_the_batch_api() -> None:
    batch = orjson.dumps({"id": "b", "status": "in_progress", "created_at": 1})
    replies = iter([Reply(307, b"", {"location": "/v1/batches/b/"}), Reply(200, batch)])
    with answering(lambda _: next(replies)) as provider:
        view = BatchProvider(credentials(provider)).retrieve("b")

    assert view is not None
    assert [path for path, _, _ in provider.seen] == ["/v1/batches/b", "/v1/batches/b/"]


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_an_answer_is_read_up_to_a_limit_after_decompression(
    status: int, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptmill.provider.transport.MOST_ANSWER_BYTES", 1_000_000)
    large, fits = (b" " * size for size in (5_000_000, 1_000_000))

    async def scenario(body: bytes) -> RawAnswer:
        packed = gzip.compress(body) if encoding == "gzip" else body
        with answering(lambda _: Reply(status, packed, {"content-encoding": encoding})) as provider:
            async with Transport(credentials(provider), "chat.completions", 2, 5.0) as transport:
                return await transport.post(b"{}")

    assert asyncio.run(scenario(fits)).content == fits
    with pytest.raises(TransportError, match="more than 1,000,000 bytes") as lost:
        asyncio.run(scenario(large))
    assert (lost.value.kind, lost.value.was_sent) == ("invalid_response", True)


@pytest.mark.parametrize("told", ["gzip", "deflate", "identity", "br"])
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        pytest.param(b'{"a": 1}', b'{"a": 1}', id="plain"),
        pytest.param(gzip.compress(b'{"a": 1}'), b'{"a": 1}', id="gzip"),
        pytest.param(zlib.compress(b'{"a": 1}'), b'{"a": 1}', id="zlib"),
        pytest.param(b"\x1f\x8bdamaged", b"\x1f\x8bdamaged", id="damaged"),
        pytest.param(b"x\x9cno zlib", b"x\x9cno zlib", id="looks-like-zlib"),
        pytest.param(b"", b"", id="empty"),
    ],
)
def test_a_body_is_read_whatever_its_header_says_of_compression(told: str, sent: bytes, read: bytes) -> None:
    async def scenario() -> RawAnswer:
        with answering(lambda _: Reply(200, sent, {"content-encoding": told})) as provider:
            async with Transport(credentials(provider), "chat.completions", 2, 5.0) as transport:
                return await transport.post(b"{}")

    assert asyncio.run(scenario()).content == read


@pytest.mark.parametrize("key", [KEY + "\n", f"  {KEY}\r\n", f"{KEY}\t"])
def test_blanks_around_a_key_are_cut_off(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)

    assert access_of(Credentials(api_key=key)).headers["Authorization"] == f"Bearer {KEY}"
    assert access_of(Credentials()).headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(Credentials(api_key="sk-1234\n5678"), id="key-with-a-line-break"),
        pytest.param(Credentials(api_key="sk-1234 5678"), id="key-with-a-blank"),
        pytest.param(Credentials(api_key="sk-1234\u00e95678"), id="key-beyond-ascii"),
        pytest.param(Credentials(api_key=" \n"), id="empty-key"),
        pytest.param(Credentials(KEY, default_headers={"X-A": "sk-1234\n5678"}), id="header-with-a-line-break"),
        pytest.param(Credentials(KEY, "https://user:sk-1234@host/v1"), id="name-and-password"),
        pytest.param(Credentials(KEY, "https://sk-1234@host/v1"), id="name"),
        pytest.param(Credentials(KEY, "host/v1"), id="no-scheme"),
        pytest.param(Credentials(KEY, "ftp://host/v1"), id="another-scheme"),
        pytest.param(Credentials(KEY, "https://[sk-1234/v1"), id="no-url"),
        pytest.param(Credentials(KEY, "https://host:port/v1"), id="no-port"),
    ],
)
def test_credentials_that_cannot_be_sent_are_refused_unquoted(given: Credentials) -> None:
    with pytest.raises(CredentialsError) as refused:
        access_of(given)

    assert "sk-1234" not in "".join(traceback.format_exception(refused.value))


def test_the_address_of_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://user:password@host/v1")

    with pytest.raises(CredentialsError, match="a name or a password before host"):
        usable(Credentials(api_key=KEY))


BASIC = base64.b64encode(b"user:pass-word-1").decode()


@pytest.mark.parametrize(
    ("key", "headers", "text", "expected"),
    [
        pytest.param("sk-0123456", {}, "a sk-0123456 b", f"a {HIDDEN} b", id="key"),
        pytest.param("EMPTY", {}, "EMPTY", "EMPTY", id="a-word-for-a-local-server-is-no-secret"),
        pytest.param(None, {"api-key": "abcdefgh"}, "abcdefgh", HIDDEN, id="header-named-as-a-secret"),
        pytest.param(None, {"Authorization": "Bearer abcdefgh"}, "<abcdefgh>", f"<{HIDDEN}>", id="after-the-scheme"),
        pytest.param(None, {"Authorization": f"Basic {BASIC}"}, "pass-word-1", HIDDEN, id="password"),
        pytest.param(None, {"X-Org": "a1b2c3d4e5f6a7b8"}, "a1b2c3d4e5f6a7b8", HIDDEN, id="looks-like-a-token"),
        pytest.param(None, {"X-Env": "production"}, "in production", "in production", id="a-word-in-a-header"),
        pytest.param("sk+012/345=", {}, "k=sk%2B012%2F345%3D", f"k={HIDDEN}", id="in-a-url"),
        pytest.param('sk"0123456', {}, '{"a": "sk\\"0123456"}', f'{{"a": "{HIDDEN}"}}', id="in-json"),
        pytest.param("sk-01234567", {"api-key": "sk-01234567-long"}, "sk-01234567-long", HIDDEN, id="longest-first"),
    ],
)
def test_secrets_are_cut_out_in_every_spelling(
    key: str | None, headers: dict[str, str], text: str, expected: str
) -> None:
    assert redact(text, secrets_of(key, headers)) == expected
