"""What every kind of refusal means, as a table."""

import orjson
import pytest

from promptmill.limits.token_bucket import ServerLimit
from promptmill.provider.error_body import read_error
from promptmill.provider.headers import parse_duration, retry_after_seconds, server_limits
from promptmill.provider.retry_policy import GiveUp, StopRun, TryAgain, backoff_seconds
from promptmill.provider.verdict import verdict_on, without_evidence

NOW = 1_790_000_000.0


def body(message: str, code: str | None = None, kind: str | None = None) -> bytes:
    """An error as OpenAI sends it."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


TPM = (
    "Rate limit reached for gpt-4o-mini in organization org-1 on tokens per min (TPM): Limit 200000, Used 163084, "
    "Requested 62318. Please try again in 7.62s."
)


@pytest.mark.parametrize(
    ("status", "headers", "content", "expected"),
    [
        pytest.param(
            429,
            {"retry-after": "56"},
            body("slow", "rate_limit_exceeded", "requests"),
            TryAgain("rate_limited", "slow", 429, 56.0, is_rate_limit=True, names="rate"),
            id="rate-limit-with-retry-after",
        ),
        pytest.param(
            429,
            {},
            body(TPM, "rate_limit_exceeded", "tokens"),
            TryAgain("rate_limited", TPM, 429, 7.62, is_rate_limit=True, is_token_limit=True, names="rate"),
            id="rate-limit-told-in-words",
        ),
        pytest.param(
            429,
            {"retry-after-ms": "150", "retry-after": "1"},
            body("slow"),
            TryAgain("rate_limited", "slow", 429, 0.15, is_rate_limit=True),
            id="milliseconds-are-more-exact",
        ),
        pytest.param(
            429,
            {},
            body("ramp", "slow_down"),
            TryAgain("rate_limited", "ramp", 429, None, is_slow_down=True),
            id="slow-down",
        ),
        pytest.param(
            429,
            {},
            body("Request too large for m"),
            GiveUp("rate_limited", "Request too large for m", 429),
            id="never-fits",
        ),
        pytest.param(
            500,
            {},
            b"<html>oops</html>",
            TryAgain("server_error", "<html>oops</html>", 500, is_trouble=True),
            id="server-error-page",
        ),
        pytest.param(
            503,
            {"retry-after": "2"},
            body("Slow Down"),
            TryAgain("server_error", "Slow Down", 503, 2.0, is_slow_down=True),
            id="503-slow-down",
        ),
        pytest.param(
            500,
            {"x-should-retry": "false"},
            body("no"),
            GiveUp("server_error", "no", 500),
            id="the-server-says-don't",
        ),
        pytest.param(408, {}, body("late"), TryAgain("timeout", "late", 408), id="request-timeout"),
        pytest.param(409, {}, body("busy"), TryAgain("server_error", "busy", 409), id="conflict"),
        pytest.param(400, {}, body("bad"), GiveUp("invalid_request", "bad", 400, "request"), id="invalid"),
        pytest.param(
            400,
            {},
            body("long", "context_length_exceeded"),
            GiveUp("context_length_exceeded", "long", 400),
            id="too-long",
        ),
        pytest.param(
            400, {}, body("no", "content_filter"), GiveUp("content_filter", "no", 400), id="filtered-before-answering"
        ),
        pytest.param(
            422, {}, b'{"detail":"field"}', GiveUp("invalid_request", "field", 422, "request"), id="another-shape"
        ),
        pytest.param(413, {}, b'{"error":"large"}', GiveUp("invalid_request", "large", 413), id="error-as-text"),
    ],
)
def test_a_refusal_is_judged_by_status_and_code(
    status: int, headers: dict[str, str], content: bytes, expected: object
) -> None:
    verdict = verdict_on(status, headers, read_error(content, ()), NOW)

    assert expected == verdict


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached", "project_spend_limit_exceeded"])
@pytest.mark.parametrize("place", ["code", "type"])
def test_a_key_without_money_stops_the_run_and_is_never_tried_again(code: str, place: str) -> None:
    content = body("You exceeded your current quota", **{"code" if place == "code" else "kind": code})

    assert isinstance(verdict_on(429, {"retry-after": "1"}, read_error(content, ()), NOW), StopRun)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_key_or_model_that_is_refused_stops_the_run_where_no_rows_are_sent(status: int) -> None:
    assert isinstance(without_evidence(verdict_on(status, {}, read_error(body("no"), ()), NOW)), StopRun)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120ms", 0.12),
        ("1s", 1),
        ("7.66s", 7.66),
        ("2m59.56s", 179.56),
        ("6m0s", 360),
        ("14h29m11.04s", 52151.04),
        ("1d", 86400),
        ("56", 56),
        ("", None),
        ("soon", None),
        ("s", None),
    ],
)
def test_durations_in_headers_are_read(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == (pytest.approx(seconds) if seconds is not None else None)


def test_a_date_in_retry_after_is_read() -> None:
    assert retry_after_seconds({"retry-after": "Mon, 21 Sep 2026 14:14:20 GMT"}, "", NOW) == pytest.approx(60, abs=61)


def test_limits_a_minute_are_read_and_limits_a_day_are_not_taken_for_them() -> None:
    minute = {
        "x-ratelimit-limit-requests": "6000",
        "x-ratelimit-remaining-requests": "5990",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6ms",
    }
    day = {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "14370",
        "x-ratelimit-reset-requests": "2m59.56s",
    }

    assert server_limits(minute) == (ServerLimit(6000, 5990), ServerLimit(150000, 149984))
    assert server_limits(day) == (ServerLimit(None, None), ServerLimit(None, None))


def test_the_backoff_doubles_up_to_a_minute_and_half_of_it_is_jitter() -> None:
    assert [backoff_seconds(n, 1.0) for n in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert backoff_seconds(1, 0.0) == 0.5
    assert backoff_seconds(1_000, 1.0) == 60.0
