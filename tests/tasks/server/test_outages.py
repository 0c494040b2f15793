"""Which errors of a call mean that the Prefect server is away, and which that the call is wrong."""

from uuid import uuid4

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectAlreadyExists, ObjectLimitReached, ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.prefect_internals.single_call import calling_once
from tasks.server.outages import CALL_ERRORS, is_away, is_slow
from tests.support.failing_api import failing_api

REQUEST = httpx.Request("GET", "http://prefect/api/flow_runs")


def answered(status: int) -> Exception:
    """What the client raises for an answer that is an error."""
    return PrefectHTTPStatusError(str(status), request=REQUEST, response=httpx.Response(status, request=REQUEST))


@pytest.mark.parametrize(
    ("error", "away", "slow"),
    [
        pytest.param(httpx.ConnectError("refused"), True, False, id="down"),
        pytest.param(httpx.ConnectTimeout("no route"), True, False, id="unreachable"),
        pytest.param(httpx.RemoteProtocolError("disconnected without an answer"), True, False, id="killed-meanwhile"),
        pytest.param(httpx.ReadError("reset"), True, False, id="connection-reset"),
        pytest.param(httpx.WriteError("broken pipe"), True, False, id="connection-broken"),
        pytest.param(httpx.ProxyError("no server behind it"), True, False, id="proxy"),
        pytest.param(ConnectionResetError(), True, False, id="reset-below-httpx"),
        pytest.param(OSError("no such host"), True, False, id="no-name-service"),
        pytest.param(TimeoutError(), True, True, id="our-own-timeout"),
        pytest.param(httpx.ReadTimeout("late"), True, True, id="late"),
        pytest.param(httpx.PoolTimeout("busy"), True, True, id="no-free-connection"),
        pytest.param(answered(500), True, True, id="500-internal-error"),
        pytest.param(answered(502), True, True, id="502-restarting-behind-a-proxy"),
        pytest.param(answered(503), True, True, id="503-overloaded"),
        pytest.param(answered(408), True, True, id="408-too-slow"),
        pytest.param(answered(429), True, True, id="429-too-many-calls"),
        pytest.param(answered(401), False, False, id="401-bad-key"),
        pytest.param(answered(403), False, False, id="403-forbidden"),
        pytest.param(answered(404), False, False, id="404-no-such-route"),
        pytest.param(answered(409), False, False, id="409-refused-parameters"),
        pytest.param(answered(422), False, False, id="422-wrong-request"),
        pytest.param(ObjectNotFound(answered(404)), False, False, id="not-found"),
        pytest.param(ObjectAlreadyExists(answered(409)), False, False, id="exists"),
        pytest.param(ObjectLimitReached(answered(403)), False, False, id="too-many-objects"),
        pytest.param(httpx.UnsupportedProtocol("no http://"), False, False, id="bad-url"),
        pytest.param(httpx.TooManyRedirects("loop"), False, False, id="redirects"),
    ],
)
def test_a_server_that_is_away_is_told_from_a_call_that_is_wrong(error: Exception, away: bool, slow: bool) -> None:
    assert isinstance(error, CALL_ERRORS)
    assert (is_away(error), is_slow(error)) == (away, slow)


async def raised() -> Exception:
    """The error of a call as Prefect's client raises it."""
    with calling_once():
        async with get_client() as client:
            with pytest.raises(CALL_ERRORS) as caught:
                await client.read_flow_run(uuid4())
    return caught.value


@pytest.mark.parametrize(
    ("status", "away"), [(500, True), (502, True), (503, True), (429, True), (401, False), (404, False), (422, False)]
)
async def test_what_prefects_client_raises_for_an_answer_is_judged_right(status: int, away: bool) -> None:
    with failing_api(status):
        assert is_away(await raised()) is away


async def test_what_prefects_client_raises_without_an_answer_is_judged_right() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert is_away(await raised())
