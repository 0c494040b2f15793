"""Rows that find no capacity at the flex tier are asked at the standard one."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import orjson
import pytest

from promptmill.errors import RunStopped
from promptmill.job.spec import RequestSpec, Retry
from promptmill.limits.pricing import prices_for, requested_tier
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.provider.billing import Billing
from promptmill.provider.tiers import Tiers
from promptmill.provider.transport import RawAnswer
from promptmill.records import Completion, Result
from tests.support.asking import answer_each
from tests.support.rendering import LETTERS

FULL = {"error": {"message": "Resource Unavailable", "type": "resource_unavailable", "code": "resource_unavailable"}}
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 10}
FLEX = {"model": "gpt-5.6-luna", "user": "{{ text }}", "tier": {"prefer": "flex"}}
FLEX_SECONDS = 0.05  # of an answer


class Server:
    """Has capacity at the flex tier when it is told so; remembers the tiers that it was asked at, and when."""

    def __init__(self, has_capacity: Callable[[float], bool], *, names_tier: bool = True) -> None:
        self._has_capacity = has_capacity
        self._names_tier = names_tier
        self.asked: list[tuple[str | None, float]] = []

    async def post(self, body: bytes) -> RawAnswer:
        now, tier = asyncio.get_running_loop().time(), orjson.loads(body).get("service_tier")
        self.asked.append((tier, now))
        await asyncio.sleep(FLEX_SECONDS)
        if tier == "flex" and not self._has_capacity(now):
            return RawAnswer(429, {}, orjson.dumps(FULL))
        told = {"service_tier": "flex" if tier == "flex" else "default"} if self._names_tier else {}
        choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
        return RawAnswer(200, {}, orjson.dumps({"choices": [choice], "usage": USAGE, **told}))


def answer_all(server: Server, tiers: Tiers | None, rows: int = 30) -> list[Result | RunStopped]:
    spec = RequestSpec.model_validate(FLEX)
    builder = RequestBuilder(spec, ["text"], None, LETTERS)
    requests = [builder.build({"text": "x"}, number) for number in range(rows)]
    billing = Billing(prices_for(spec.model, None), requested_tier(spec.sent_parameters), len)
    retry = Retry.model_validate({"max_attempts": 1, "max_elapsed_seconds": 100})
    return answer_each(server, requests, at_once=4, billing=billing, retry=retry, tiers=tiers)


def costs(results: list[Result | RunStopped]) -> set[Decimal]:
    return {result.cost_usd for result in results if isinstance(result, Completion)}


@pytest.mark.parametrize("names_tier", [True, False])
def test_rows_that_find_no_capacity_are_asked_and_priced_at_the_standard_tier(names_tier: bool) -> None:
    standard = prices_for("gpt-5.6-luna", None).request_usd(1_000, 10, "standard")
    server = Server(lambda _: False, names_tier=names_tier)

    results = answer_all(server, Tiers())

    assert costs(results) == {standard}
    assert len([tier for tier, _ in server.asked if tier == "flex"]) <= 4
    assert len([tier for tier, _ in server.asked if tier is None]) == 30


def test_rows_that_find_capacity_stay_at_the_flex_tier() -> None:
    server = Server(lambda _: True)

    results = answer_all(server, Tiers())

    assert {tier for tier, _ in server.asked} == {"flex"}
    assert costs(results) == {prices_for("gpt-5.6-luna", None).request_usd(1_000, 10, "flex")}


def test_flex_is_tried_again_a_minute_later() -> None:
    server = Server(lambda seconds: seconds > 30)

    results = answer_all(server, Tiers(), rows=6_000)

    assert all(isinstance(result, Completion) for result in results)
    back = [seconds for tier, seconds in server.asked if tier == "flex" and seconds > 30]
    assert 60 <= back[0] <= 62


def test_rows_wait_for_capacity_as_long_as_the_job_says() -> None:
    server = Server(lambda _: False)

    results = answer_all(server, Tiers(wait_seconds=40))

    assert all(isinstance(result, Completion) for result in results)
    assert 40 <= next(seconds for tier, seconds in server.asked if tier is None) <= 100


def test_without_a_tier_to_fall_back_to_the_run_ends_with_its_rows_unanswered() -> None:
    server = Server(lambda _: False)

    results = answer_all(server, None)

    assert all(isinstance(result, RunStopped) for result in results)
    assert {tier for tier, _ in server.asked} == {"flex"}


def test_a_preferred_tier_is_asked_for_as_the_parameter_is() -> None:
    values = {"model": "m", "user": "{{ text }}"}
    by_tier = RequestSpec.model_validate({**values, "tier": {}})
    by_hand = RequestSpec.model_validate({**values, "parameters": {"service_tier": "flex"}})
    made = [RequestBuilder(spec, ["text"], None, LETTERS).build({"text": "x"}, 0) for spec in (by_tier, by_hand)]

    assert made[0] == made[1]


def test_rows_are_asked_at_the_standard_tier_once_a_deadline_leaves_no_time_for_flex() -> None:
    server, tiers = Server(lambda now: True), Tiers()
    tiers.is_late = lambda: len(server.asked) >= 12

    answer_all(server, tiers)

    asked = [tier for tier, _ in server.asked]
    assert set(asked[:12]) == {"flex"}
    assert set(asked[12:]) == {None}
    assert len(asked) == 30
