"""The provider's costs report beside the audit: what is compared, what is said of a difference, what a strange report does."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from promptmill.audit.bounds import Audit
from promptmill.audit.provider_costs import CostLine, compare, costs_sentences, costs_values, first_day
from promptmill.audit.records import BatchMoney, Found
from promptmill.checkpoints.accounts import Account, Accounts
from promptmill.provider.costs_report import NoReport, read_costs
from tests.support.echoing import Reply, answering

MODEL, DAY, NEXT = "gpt-6-luna", date(2026, 11, 27), date(2026, 11, 28)
ADMIN_KEY = "sk-admin-0123456789abcdef"


def audit(known: str, at_most: str) -> Audit:
    return Audit(Decimal(known), Decimal(at_most), (), ())


def lines(*usd: str) -> list[CostLine]:
    return [CostLine(DAY, f"{MODEL}-2026-05-01, input_tokens", Decimal(amount)) for amount in usd]


@pytest.mark.parametrize(
    ("reported", "difference", "said"),
    [
        ("1.00", "0", "fits this output's bounds to the cent"),
        ("1.10", "0", "fits this output's bounds to the cent"),
        ("1.104", "0.004", "fits this output's bounds to the cent"),
        ("1.35", "0.25", "$0.25 more than this output can have cost: other work used gpt-6-luna in project p"),
        ("0.40", "-0.60", "$0.60 less than this output's answers cost: the report comes up to a day late"),
    ],
)
def test_a_difference_is_named_to_the_cent_and_where_it_comes_from(reported: str, difference: str, said: str):
    check = compare(lines(reported), [MODEL], audit("1.00", "1.10"))

    assert check.difference_usd == Decimal(difference)
    assert said in " ".join(costs_sentences(check, MODEL, "in project p"))


def test_days_and_line_items_of_this_model_alone_are_added_up():
    report = [
        CostLine(DAY, f"{MODEL}-2026-05-01, input_tokens", Decimal("0.10")),
        CostLine(DAY, f"{MODEL.upper()}, output_tokens", Decimal("0.20")),
        CostLine(NEXT, f"{MODEL}, output_tokens", Decimal("0.30")),
        CostLine(NEXT, f"{MODEL}-mini, output_tokens", Decimal(5)),
        CostLine(NEXT, f"big-{MODEL}, output_tokens", Decimal(5)),
        CostLine(NEXT, "", Decimal(5)),
        CostLine(NEXT, f"{MODEL}, cached_input_tokens", Decimal(0)),
    ]
    values = costs_values(compare(report, [MODEL], audit("0.6", "0.6")))

    assert values["days"] == [{"day": "2026-11-27", "usd": "0.30"}, {"day": "2026-11-28", "usd": "0.30"}]
    assert [item["item"].partition(", ")[2] for item in values["items"]] == [
        "output_tokens",
        "output_tokens",
        "input_tokens",
    ]
    assert (values["reported_usd"], values["difference_usd"]) == ("0.60", "0")


def test_a_report_without_the_model_says_what_that_may_mean():
    check = compare([CostLine(DAY, "another, input_tokens", Decimal(1))], [MODEL], audit("1", "1"))

    assert (
        "up to a day late; or the admin key belongs to another organization" in costs_sentences(check, MODEL, "here")[0]
    )


def test_the_report_is_asked_from_the_day_of_the_first_request_on():
    runs = (Account(began_at=1_795_800_000.5), Account(began_at=0.0))
    batch = BatchMoney("k", 1, Decimal(1), packed_at=1_795_700_000.0)

    assert first_day(Found(Accounts(runs, None, ()), (batch,), {}, Decimal(0))) == 1_795_651_200
    assert first_day(Found(Accounts((), None, ()), (), {}, Decimal(0))) is None


def page(*results: Any, after: str | None = None, began: Any = 1_795_737_600) -> bytes:
    bucket = {"object": "bucket", "start_time": began, "end_time": 1_795_824_000, "results": list(results)}
    return json.dumps({"object": "page", "data": [bucket], "has_more": bool(after), "next_page": after}).encode()


def result(value: Any, item: Any = f"{MODEL}, input_tokens", currency: Any = "usd") -> dict[str, Any]:
    return {"object": "organization.costs.result", "amount": {"value": value, "currency": currency}, "line_item": item}


def test_every_page_is_read_with_the_admin_key_alone(monkeypatch: pytest.MonkeyPatch):
    replies = iter([page(result(0.1), after="p2"), page(result(0.02))])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-usual-0123456789")
    with answering(lambda _: Reply(200, next(replies))) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        found = read_costs(ADMIN_KEY, "proj_7", 1_795_737_600)

    assert [usd for _, _, usd in found] == [Decimal("0.1"), Decimal("0.02")]
    assert [headers["authorization"] for _, headers, _ in provider.seen] == [f"Bearer {ADMIN_KEY}"] * 2
    first, second = (path for path, _, _ in provider.seen)
    assert ("proj_7" in first, "start_time=1795737600" in first, "line_item" in first) == (True, True, True)
    assert "page=p2" in second


@pytest.mark.parametrize(
    "reply",
    [
        Reply(
            401, json.dumps({"error": {"message": f"Incorrect key {ADMIN_KEY}", "code": "invalid_api_key"}}).encode()
        ),
        Reply(403, b'{"error": {"message": "You have insufficient permissions. Missing scopes: api.usage.read"}}'),
        Reply(404, b"<html>no such page</html>", {"content-type": "text/html"}),
        Reply(307, b"", {"location": "http://127.0.0.2:9/costs"}),
        Reply(200, b"<html>a portal</html>", {"content-type": "text/html"}),
        Reply(200, b"[]"),
        Reply(200, b'{"data": null}'),
        Reply(200, page({"amount": None, "line_item": None})),
        Reply(200, page(result("a lot"))),
        Reply(200, page(result("9" * 5_000))),
        Reply(200, page(result(1, currency="eur"))),
        Reply(200, page(result(1), after="the same again")),
        Reply(200, page(result(1), began="today")),
    ],
)
def test_what_is_no_report_is_one_error_without_the_key(reply: Reply, monkeypatch: pytest.MonkeyPatch):
    with answering(lambda _: reply) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        with pytest.raises(NoReport, match="costs report") as raised:
            read_costs(ADMIN_KEY, "", 0)

    assert ADMIN_KEY not in str(raised.value)
