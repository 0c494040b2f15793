"""A refusal is told by its words and headers: of a limit a minute, of requests at once, or of neither."""

import pytest

from promptmill.limits.concurrency import Ending
from promptmill.provider.error_body import ErrorBody, read_error
from promptmill.provider.pressure import Named, ending_of, limit_named
from promptmill.provider.retry_policy import GiveUp, TryAgain
from promptmill.provider.verdict import verdict_on

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("message", "kind", "headers", "named"),
    [
        pytest.param("Rate limit reached for m on requests per min (RPM): Limit 3", "", {}, "rate", id="openai-rpm"),
        pytest.param("Rate limit reached", "tokens", {}, "rate", id="openai-type"),
        pytest.param("have exceeded token rate limit. Please retry after 6 seconds.", "", {}, "rate", id="azure"),
        pytest.param("no", "", {"x-ratelimit-remaining-requests": "0"}, "rate", id="nothing-left-by-the-headers"),
        pytest.param("no", "", {"anthropic-ratelimit-input-tokens-remaining": "0"}, "rate", id="no-input-tokens-left"),
        pytest.param("Too many concurrent requests", "", {}, "at_once", id="concurrent"),
        pytest.param("Max parallel requests limit reached", "", {}, "at_once", id="litellm"),
        pytest.param("too many requests in flight", "", {}, "at_once", id="in-flight"),
        pytest.param("The queue is full", "", {}, "at_once", id="full-queue"),
        pytest.param("Too Many Requests", "", {}, "", id="bare"),
        pytest.param("rate limited", "", {"retry-after": "1"}, "", id="retry-after-alone"),
        pytest.param("no", "", {"x-ratelimit-remaining-requests": "5"}, "", id="requests-are-left"),
    ],
)
def test_a_refusal_names_the_limit_that_its_words_or_headers_tell(
    message: str, kind: str, headers: dict[str, str], named: Named
) -> None:
    assert limit_named(headers, ErrorBody(message, type=kind)) == named


@pytest.mark.parametrize(
    ("status", "message", "ending"),
    [
        pytest.param(429, "per minute", "other", id="a-limit-a-minute-is-the-limiters"),
        pytest.param(429, "Too many concurrent requests", "refused", id="requests-at-once"),
        pytest.param(429, "no", "refused", id="a-bare-429"),
        pytest.param(503, "busy", "refused", id="unavailable"),
        pytest.param(529, "Overloaded", "refused", id="overloaded"),
        pytest.param(504, "late", "timeout", id="gateway-timeout"),
        pytest.param(500, "oops", "other", id="a-fault-of-the-server"),
        pytest.param(400, "no", "answered", id="a-refused-row-is-an-answer"),
    ],
)
def test_only_some_errors_speak_of_the_number_in_flight(status: int, message: str, ending: Ending) -> None:
    content = f'{{"error": {{"message": "{message}"}}}}'.encode()

    assert ending_of(verdict_on(status, {}, read_error(content, ()), NOW)) == ending


@pytest.mark.parametrize(
    ("verdict", "ending"),
    [
        pytest.param(TryAgain("timeout", "late", is_trouble=True), "timeout", id="no-answer-in-time"),
        pytest.param(TryAgain("connection", "reset", is_trouble=True, is_unsent=True), "other", id="never-reached"),
        pytest.param(GiveUp("invalid_request", "no"), "answered", id="refused-for-good"),
    ],
)
def test_a_lost_request_speaks_of_the_number_in_flight_only_if_it_timed_out(
    verdict: TryAgain | GiveUp, ending: Ending
) -> None:
    assert ending_of(verdict) == ending
