"""A server that is slow is waited for and asked for more; one that is away is asked now and then."""

import pytest

from tasks.server.lease_backoff import AWAY_SECONDS, BLOCK_SECONDS, CALL_SECONDS, MOST_CALL_SECONDS, Patience


def test_a_server_that_answers_at_once_is_asked_for_a_second_at_a_time() -> None:
    patience = Patience()
    patience.answered(0.02)

    assert (BLOCK_SECONDS, CALL_SECONDS) == (patience.block_seconds, patience.timeout_seconds)


@pytest.mark.parametrize(
    ("took_seconds", "timeout_seconds"),
    [(0.02, CALL_SECONDS), (5.0, 10.0), (10.0, 20.0), (25.0, MOST_CALL_SECONDS)],
)
def test_the_next_answer_is_waited_for_twice_as_long(took_seconds: float, timeout_seconds: float) -> None:
    patience = Patience()
    patience.failed(took_seconds, is_slow=True, chance=0.5)

    assert timeout_seconds == patience.timeout_seconds


def test_a_slow_server_is_asked_again_soon_and_one_that_is_away_ever_less_often() -> None:
    slow, away = Patience(), Patience()
    rests = [
        (slow.failed(2.0, is_slow=True, chance=1.0), away.failed(0.0, is_slow=False, chance=1.0)) for _ in range(9)
    ]

    assert [0.5] * 9 == [one for one, _ in rests]
    assert [0.5, 1.0, 2.0, 4.0] + [AWAY_SECONDS] * 5 == [one for _, one in rests]
    assert 9 == away.failures
