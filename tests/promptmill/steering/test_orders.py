"""What orders add up to, and what may be set."""

from datetime import UTC, datetime

import pytest

from promptmill.errors import SetupError
from promptmill.steering.orders import Action, Order, Value, add_up, require_settable

AT = datetime(2026, 11, 28, tzinfo=UTC)


def order(action: Action, by: str = "ann", **values: Value) -> Order:
    return Order(action, by, AT, values)


PAUSE, RESUME, STOP = order("pause"), order("resume"), order("stop", "bob")
CHEAP, DEAR = order("set", budget_usd="5"), order("set", budget_usd="50")
SHARES = order("share", record="2.5", budget_usd="5")


@pytest.mark.parametrize(
    ("orders", "is_paused", "is_stopped", "values"),
    [
        pytest.param([], False, False, {}, id="none"),
        pytest.param([PAUSE], True, False, {}, id="paused"),
        pytest.param([PAUSE, RESUME], False, False, {}, id="resumed"),
        pytest.param([RESUME, PAUSE], True, False, {}, id="a-resume-holds-for-no-later-pause"),
        pytest.param([PAUSE, CHEAP], True, False, {"budget_usd": "5"}, id="set-while-paused"),
        pytest.param([CHEAP, DEAR], False, False, {"budget_usd": "50"}, id="the-last-value-holds"),
        pytest.param([STOP, RESUME, DEAR], False, True, {}, id="nothing-counts-after-a-stop"),
        pytest.param([PAUSE, STOP], True, True, {}, id="stopped-while-paused"),
    ],
)
def test_orders_add_up(orders: list[Order], is_paused: bool, is_stopped: bool, values: dict[str, Value]) -> None:
    found = add_up(orders)

    assert (found.paused is not None, found.stopped is not None, dict(found.values)) == (is_paused, is_stopped, values)


def test_a_run_is_paused_since_the_first_of_two_pauses_and_names_who_paused_it() -> None:
    found = add_up([PAUSE, order("pause", "bob")])

    assert found.pause == "paused since 00:00:00 UTC by ann; `promptmill resume JOB` resumes it"


def test_the_history_has_what_people_told_and_nothing_that_the_run_told_its_shards() -> None:
    assert [told.what for told in add_up([CHEAP, SHARES, STOP]).orders] == ["set budget_usd=5", "stop"]


def test_a_budget_that_is_changed_again_is_to_be_shared_out_again() -> None:
    assert add_up([CHEAP, SHARES]).shares_usd == SHARES.values
    assert add_up([CHEAP, SHARES, DEAR]).shares_usd is None
    assert add_up([CHEAP, SHARES, order("set", max_failure_ratio=0.5)]).shares_usd == SHARES.values


def test_shares_of_another_budget_count_for_nothing() -> None:
    """A budget was changed at the moment at which the one before it was shared out, and both orders have one number."""
    assert add_up([DEAR, CHEAP, order("share", record="25", budget_usd="50")]).shares_usd is None


def test_an_order_keeps_a_value_in_the_form_of_the_job() -> None:
    given = {
        "limits.max_concurrency": "auto",
        "budget_usd": 0.1,
        "limits.tokens_per_minute": None,
        "max_failure_ratio": 1,
    }

    assert require_settable(given, "online") == {**given, "budget_usd": "0.1"}


@pytest.mark.parametrize(
    ("name", "value", "mode", "said"),
    [
        pytest.param("limits.max_concurency", 3, "online", "Did you mean 'limits.max_concurrency'?", id="misspelt"),
        pytest.param("request.model", "x", "online", "These can be: limits.max_conc", id="of-the-job"),
        pytest.param("limits.max_concurrency", 0, "online", "greater than or equal to 1", id="too-small"),
        pytest.param("limits.requests_per_minute", "many", "online", "valid integer", id="no-number"),
        pytest.param("budget_usd", -1, "online", "greater than or equal to 0", id="less-than-nothing"),
        pytest.param("budget_usd", None, "online", "needs a value", id="no-budget"),
        pytest.param("max_failure_ratio", 2, "online", "less than or equal to 1", id="more-than-all"),
        pytest.param("limits.max_concurrency", 3, "batch", "hands files to the provider", id="of-a-batch-run"),
    ],
)
def test_a_refused_setting_names_the_settings_that_are_allowed(name: str, value: object, mode: str, said: str) -> None:
    with pytest.raises(SetupError, match=said.replace("?", r"\?")):
        require_settable({name: value}, mode)
