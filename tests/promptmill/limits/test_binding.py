"""Which limit holds a run up is decided from what it waits for."""

from dataclasses import replace

import pytest

from promptmill.limits.binding import Limit, Moment, limit_at, shares_of
from promptmill.limits.waiting import WaitingReason

CALM = Moment(reason=None, waits_for_money=False, waits_for_place=False, on_wire=10, places=64, busy_share=0.3)
BY_TOKENS = WaitingReason("tokens", 1.0, "", "tokens")
BY_LEASE = WaitingReason("lease", None, "", "requests")
REFUSED = WaitingReason("refused", 2.0, "")


@pytest.mark.parametrize(
    ("moment", "limit"),
    [
        pytest.param(CALM, None, id="nothing-waits"),
        pytest.param(replace(CALM, reason=BY_TOKENS, waits_for_place=True), "tokens", id="tokens-a-minute"),
        pytest.param(replace(CALM, reason=BY_LEASE), "requests", id="a-lease-of-a-shared-limit"),
        pytest.param(replace(CALM, reason=REFUSED), "provider", id="a-pause-after-a-refusal"),
        pytest.param(replace(CALM, waits_for_money=True), "budget", id="budget"),
        pytest.param(replace(CALM, waits_for_place=True, on_wire=64), "concurrency", id="all-places-on-the-wire"),
        pytest.param(replace(CALM, waits_for_place=True, on_wire=20), "machine", id="places-held-by-unsaved-answers"),
        pytest.param(replace(CALM, waits_for_place=True, on_wire=64, busy_share=0.97), "machine", id="a-busy-core"),
    ],
)
def test_a_moment_names_the_limit_that_holds_it_up(moment: Moment, limit: Limit | None) -> None:
    assert limit_at(moment) == limit


@pytest.mark.parametrize(
    ("seconds", "shares"),
    [
        pytest.param({}, {}, id="nothing-watched"),
        pytest.param({None: 10.0}, {}, id="nothing-held-it-up"),
        pytest.param({"tokens": 3.0, "requests": 6.0, None: 1.0}, {"requests": 0.6, "tokens": 0.3}, id="highest-first"),
        pytest.param({"tokens": 0.5, "requests": 9.5}, {"requests": 0.95}, id="hardly-any-is-left-out"),
    ],
)
def test_limits_are_named_with_their_share_of_the_time(
    seconds: dict[Limit | None, float], shares: dict[str, float]
) -> None:
    assert list(shares_of(seconds).items()) == list(shares.items())
