"""Other rows' answers say whose fault a refusal is."""

import asyncio
from collections.abc import Callable

import orjson
import pytest

from promptmill.errors import ProviderRefused, RunStopped
from promptmill.job.spec import Retry
from promptmill.provider.evidence import Evidence
from promptmill.provider.key_renewal import RenewKeys
from promptmill.provider.transport import RawAnswer, TransportError
from promptmill.records import Completion, Failure, Request, Result
from tests.support.asking import answer_each
from tests.support.odd_answers import WELL_FORMED

ANSWER = RawAnswer(200, {}, orjson.dumps(WELL_FORMED["chat.completions"]))
Behave = Callable[[str, int, float], RawAnswer]  # row, its attempt (1 = first), seconds


def refusal(status: int, message: str = "no", **fields: object) -> RawAnswer:
    return RawAnswer(status, {}, orjson.dumps({"error": {"message": message, **fields}}))


class Provider:
    """Answers each row as it is told to; remembers what it was asked."""

    def __init__(self, behave: Behave) -> None:
        self._behave = behave
        self.asked: list[str] = []

    async def post(self, body: bytes) -> RawAnswer:
        row = body.decode()
        self.asked.append(row)
        await asyncio.sleep(0.05)
        return self._behave(row, self.asked.count(row), asyncio.get_running_loop().time())


def answer_all(
    provider: Provider,
    rows: int,
    retry: Retry | None = None,
    at_once: int = 8,
    evidence: Evidence | None = None,
    renew_key: RenewKeys | None = None,
) -> dict[str, Result | RunStopped]:
    """Each row's result, or why it has none."""
    names = [f"{number}" for number in range(rows)]
    requests = [Request(name, name.encode(), 20, 64) for name in names]
    results = answer_each(
        provider,
        requests,
        at_once=at_once,
        retry=Retry() if retry is None else retry,
        evidence=evidence,
        renew_key=renew_key,
    )
    return dict(zip(names, results, strict=True))


def kinds(results: dict[str, Result | RunStopped]) -> dict[str, str]:
    return {row: result.kind for row, result in results.items() if isinstance(result, Failure)}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
@pytest.mark.parametrize("place", [0, 20, 39], ids=["first", "amid", "last"])
@pytest.mark.parametrize("at_once", [1, 8])
def test_one_row_refused_among_answered_ones_fails_alone(status: int, place: int, at_once: int) -> None:
    provider = Provider(lambda row, *_: refusal(status) if row == str(place) else ANSWER)
    results = answer_all(provider, 40, at_once=at_once)

    if (
        place == 39 and at_once == 1 and status in {401, 402}
    ):  # nothing came after it: a key or an account may have ended
        assert isinstance(results["39"], ProviderRefused)
    else:
        assert kinds(results) == {str(place): "invalid_request"}
    assert sum(isinstance(result, Completion) for result in results.values()) == 39


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
@pytest.mark.parametrize("at_once", [1, 8, 64])
def test_first_rows_that_are_all_refused_stop_the_run_after_eight_requests(status: int, at_once: int) -> None:
    provider = Provider(lambda *_: refusal(status))
    results = answer_all(provider, 100, at_once=at_once)

    assert len(provider.asked) <= 8
    assert all(isinstance(result, ProviderRefused) for result in results.values())
    assert f"answered {status}" in str(results["0"])


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_refusal_of_all_rows_amid_a_run_leaves_them_unanswered(status: int) -> None:
    provider = Provider(lambda row, _, seconds: refusal(status) if seconds > 1 else ANSWER)
    results = answer_all(provider, 400)

    assert kinds(results) == {}
    assert any(isinstance(result, Completion) for result in results.values())
    assert isinstance(results["399"], ProviderRefused)


def test_credit_that_is_back_soon_costs_no_row() -> None:
    """Rows that were refused before the run stops are asked again once others are answered."""
    provider = Provider(lambda row, attempt, _: refusal(402) if int(row) in range(20, 24) and attempt == 1 else ANSWER)
    results = answer_all(provider, 40)

    assert all(isinstance(result, Completion) for result in results.values())


def test_a_parameter_that_is_no_rows_stops_the_run_and_is_named() -> None:
    provider = Provider(lambda *_: refusal(400, "Unsupported value", param="temperature"))
    results = answer_all(provider, 100, at_once=64)

    assert len(provider.asked) <= 8
    assert "'temperature'" in str(results["0"])
    assert "request.parameters" in str(results["0"])


def test_a_job_with_answers_of_earlier_runs_is_not_to_blame_for_bad_rows() -> None:
    provider = Provider(lambda *_: refusal(400))
    results = answer_all(provider, 20, evidence=Evidence(lambda: True))

    assert len(kinds(results)) == 20


def test_an_error_inside_a_200_makes_everybody_wait_and_costs_no_row() -> None:
    body = orjson.dumps({"error": {"message": "slow", "code": 429}})
    provider = Provider(lambda row, attempt, _: RawAnswer(200, {}, body) if row == "3" and attempt < 3 else ANSWER)

    assert all(isinstance(result, Completion) for result in answer_all(provider, 40).values())


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"choices":[]}', b"<html></html>", b'{"choices":[{"mes'])
def test_a_200_without_an_answer_is_bought_twice_a_row_at_most(body: bytes) -> None:
    provider = Provider(lambda row, *_: RawAnswer(200, {}, body) if row == "5" else ANSWER)
    results = answer_all(provider, 20)

    assert kinds(results) == {"5": "invalid_response"}
    assert provider.asked.count("5") == 2


def test_200s_without_an_answer_for_all_rows_stop_the_run() -> None:
    provider = Provider(lambda *_: RawAnswer(200, {}, b"<html>Sign in</html>"))
    results = answer_all(provider, 100, at_once=64)

    assert len(provider.asked) <= 8
    assert all(isinstance(result, ProviderRefused) for result in results.values())


def _broken(*, was_sent: bool) -> RawAnswer:
    raise TransportError("connection", "the provider can't be reached", was_sent=was_sent)


TROUBLES: dict[str, Callable[[], RawAnswer]] = {
    "500": lambda: refusal(500),
    "503-for-half-an-hour": lambda: RawAnswer(503, {"retry-after": "1800"}, b""),
    "unreachable": lambda: _broken(was_sent=False),
    "broken": lambda: _broken(was_sent=True),
}


@pytest.mark.parametrize("name", TROUBLES)
@pytest.mark.parametrize("at_once", [1, 8, 64])
def test_an_outage_is_nobodys_row_and_ends_the_run_after_its_time(name: str, at_once: int) -> None:
    provider = Provider(lambda row, *_: ANSWER if int(row) < 10 else TROUBLES[name]())
    results = answer_all(provider, 40, Retry(max_outage_seconds=900, max_attempts=2), at_once)

    assert kinds(results) == {}
    assert "max_outage_seconds" in str(results["39"])
    assert len(provider.asked) < 10 + 64 + 60  # a probe now and then


@pytest.mark.parametrize("name", TROUBLES)
def test_an_outage_that_ends_costs_no_row(name: str) -> None:
    provider = Provider(lambda row, _, seconds: TROUBLES[name]() if 0.2 < seconds < 600 else ANSWER)
    results = answer_all(provider, 100)

    assert all(isinstance(result, Completion) for result in results.values())


@pytest.mark.parametrize("rows", [{"7"}, {"37", "38", "39"}], ids=["amid", "the-last-three"])
def test_rows_that_fail_at_the_server_while_others_are_answered_fail_alone(rows: set[str]) -> None:
    provider = Provider(lambda row, *_: refusal(500) if row in rows else ANSWER)
    results = answer_all(provider, 40, Retry(max_attempts=3, max_outage_seconds=900))

    assert set(kinds(results).values()) <= {"server_error"}
    assert sum(isinstance(result, Completion) for result in results.values()) == 40 - len(rows)
    if rows == {"7"}:
        assert kinds(results) == {"7": "server_error"}


def test_a_limit_that_lasts_ends_the_run_and_fails_no_row() -> None:
    provider = Provider(lambda row, _, seconds: refusal(429) if seconds > 1 else ANSWER)
    results = answer_all(provider, 400, Retry(max_elapsed_seconds=120))

    assert kinds(results) == {}
    assert "max_elapsed_seconds" in str(results["399"])


@pytest.mark.parametrize("is_renewed", [True, False], ids=["a-new-key", "the-old-key"])
def test_a_refused_key_is_looked_up_once_more(is_renewed: bool) -> None:
    looked: list[float] = []

    async def renew() -> bool:
        looked.append(asyncio.get_running_loop().time())
        return is_renewed

    provider = Provider(
        lambda row, attempt, seconds: refusal(401) if seconds > 1 and not (looked and is_renewed) else ANSWER
    )
    results = answer_all(provider, 400, renew_key=renew)

    assert len(looked) == 1
    assert kinds(results) == {}
    assert all(isinstance(result, Completion) for result in results.values()) is is_renewed
