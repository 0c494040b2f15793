"""The limits as values, with the clock as an argument."""

import pytest

from promptmill.simulator.errors import ApiError
from promptmill.simulator.limits.meters import Bucket, SlidingWindow
from promptmill.simulator.limits.model_limits import ModelLimits, format_duration
from promptmill.simulator.options import SimulatorOptions


def full_bucket(limit: int = 60) -> Bucket:
    return Bucket(limit, capacity=limit, window_seconds=60, level=limit, updated=0)


def test_bucket_refills_continuously_up_to_its_capacity() -> None:
    bucket = full_bucket()
    bucket.take(0, 60)

    assert bucket.remaining(1.5) == pytest.approx(1.5)
    assert bucket.wait_seconds(1.5, 10) == pytest.approx(8.5)
    assert bucket.reset_seconds(1.5) == pytest.approx(58.5)
    assert bucket.remaining(1000) == 60


def test_bucket_does_not_remember_what_is_taken_below_empty() -> None:
    bucket = full_bucket()
    bucket.take(0, 1000)

    assert bucket.wait_seconds(0, 1) == pytest.approx(1)


def test_sliding_window_never_holds_more_than_its_limit() -> None:
    window = SlidingWindow(10, window_seconds=60)
    admitted: list[float] = []
    for tick in range(3000):
        now = tick / 10
        if window.wait_seconds(now, 1) == 0:
            window.take(now, 1)
            admitted.append(now)

    assert max(sum(start <= time < start + 60 for time in admitted) for start in admitted) == 10


def test_sliding_window_tells_when_enough_will_have_left() -> None:
    window = SlidingWindow(10, window_seconds=60)
    window.take(0, 4)
    window.take(5, 6)

    assert window.wait_seconds(10, 3) == pytest.approx(50)
    assert window.wait_seconds(10, 5) == pytest.approx(55)
    assert window.wait_seconds(10, 11) == float("inf")
    assert window.reset_seconds(10) == pytest.approx(55)


def test_hammering_keeps_a_sliding_window_full() -> None:
    window = SlidingWindow(2, window_seconds=60)
    for now in range(50):
        window.take(now, 1)

    assert window.remaining(59) == 0


@pytest.mark.parametrize("window", ["bucket", "sliding"])
@pytest.mark.parametrize(("counts", "left"), [(True, 8), (False, 9)])
def test_refused_request_takes_no_tokens_and_counts_only_if_failures_do(window: str, counts: bool, left: int) -> None:
    options = SimulatorOptions(
        requests_per_minute=10,
        tokens_per_minute=100,
        window="sliding" if window == "sliding" else "bucket",
        failed_requests_count=counts,
    )
    limits = ModelLimits(options, 0)
    limits.admit(0, "m", 60, options)
    with pytest.raises(
        ApiError, match=r"tokens per min \(TPM\): Limit 100, Used 60, Requested 50. Please try again in"
    ):
        limits.admit(0, "m", 50, options)

    headers = dict(limits.headers(0))
    assert headers[b"x-ratelimit-remaining-tokens"] == b"40"
    assert headers[b"x-ratelimit-remaining-requests"] == b"%d" % left


def test_request_that_can_never_fit_is_told_so_without_a_time() -> None:
    options = SimulatorOptions(tokens_per_minute=100)
    with pytest.raises(ApiError, match=r"^Request too large .* Limit 100, Requested 101") as refused:
        ModelLimits(options, 0).admit(0, "m", 101, options)

    assert refused.value.headers() == []


def test_retry_after_is_never_shorter_than_the_wait() -> None:
    options = SimulatorOptions(requests_per_minute=40)
    limits = ModelLimits(options, 0)
    for _ in range(40):
        limits.admit(0, "m", 1, options)
    with pytest.raises(ApiError) as refused:
        limits.admit(0, "m", 1, options)

    assert dict(refused.value.headers()) == {b"retry-after": b"2", b"retry-after-ms": b"1500"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(0, "0s", id="none"),
        pytest.param(0.12, "120ms", id="milliseconds"),
        pytest.param(1, "1s", id="whole"),
        pytest.param(7.66, "7.66s", id="seconds"),
        pytest.param(59.9999, "1m0s", id="rounds-up"),
        pytest.param(179.56, "2m59.56s", id="minutes"),
        pytest.param(52151.04, "14h29m11.04s", id="hours"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
