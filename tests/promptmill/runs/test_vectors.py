"""Embeddings of inputs that the server cuts in silence: found in a pack, and for one request more a run."""

from collections.abc import Callable, Sequence

import orjson
import pytest

from promptmill.job.spec import RequestSpec, Retry
from promptmill.limits.budget import Budget
from promptmill.limits.places import Places
from promptmill.limits.pricing import prices_for
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.tokens import TokenCounter
from promptmill.provider.billing import Billing
from promptmill.provider.client import Client
from promptmill.provider.transport import RawAnswer
from promptmill.records import Failure, Request, Result
from promptmill.runs.vectors import complete_pack
from promptmill.stop import Slot, Stop
from tests.support.clock import run_on_clock

WINDOW = 512
COUNTER = TokenCounter(lambda text: len(text.split()), "words", is_exact=True)
SPEC = RequestSpec.model_validate({"endpoint": "embeddings", "model": "text-embedding-3-small", "input": "{{ text }}"})
BUILDER = RequestBuilder(SPEC, ["text"], None, COUNTER)


class Server:
    """Answers with a vector for each input, and tells the tokens that `told` makes of the inputs' own."""

    def __init__(self, told: Callable[[Sequence[int]], int]) -> None:
        self.asked: list[int] = []  # inputs of each request
        self._told = told

    async def post(self, body: bytes) -> RawAnswer:
        """The answer."""
        texts = orjson.loads(body)["input"]
        self.asked.append(len(texts))
        told = self._told([COUNTER.count(text) for text in texts])
        data = [{"index": index, "embedding": [0.5, 0.5]} for index in range(len(texts))]
        return RawAnswer(200, {}, orjson.dumps({"data": data, "usage": {"prompt_tokens": told, "total_tokens": told}}))


def embed(server: Server, packs: Sequence[Sequence[int]]) -> list[Result]:
    """The results of inputs of so many tokens, pack by pack."""

    async def scenario() -> list[Result]:
        client = Client(
            sender=server,
            endpoint="embeddings",
            limiter=RateLimiter(),
            budget=Budget(None),
            billing=Billing(prices_for("text-embedding-3-small", None), None, COUNTER.count),
            retry=Retry.model_validate({"max_attempts": 2}),
            stop=Stop(),
        )
        results: list[Result] = []
        for pack in packs:
            slot = Slot(Places(1))
            await slot.acquire()
            results += await complete_pack(
                client, BUILDER, [request_of(tokens, place) for place, tokens in enumerate(pack)], slot
            )
        return results

    return run_on_clock(scenario())


def request_of(tokens: int, place: int) -> Request:
    return BUILDER.build({"text": " ".join(["word"] * tokens)}, place)


def cutting(counts: Sequence[int]) -> int:
    return sum(min(count, WINDOW) for count in counts)


@pytest.mark.parametrize(
    ("told", "packs", "cut", "asked"),
    [
        pytest.param(cutting, [[2_000]], [0], [1], id="alone"),
        pytest.param(cutting, [[100, 2_000, 600, 3_000]], [1, 3], [4, 1], id="in-a-pack"),
        pytest.param(
            cutting, [[100, 3_000], [200, 2_000]], [1, 3], [2, 1, 2], id="in-a-second-pack-without-asking-again"
        ),
        pytest.param(cutting, [[100, 500, 510]], [], [3], id="none-is-cut"),
        pytest.param(sum, [[2_000, 3_000]], [], [2], id="a-server-that-cuts-nothing"),
        pytest.param(
            lambda counts: counts[0], [[300, 400, 900], [300, 400, 900]], [], [3, 1, 3], id="only-the-first-is-counted"
        ),
        pytest.param(lambda _: 0, [[2_000, 3_000]], [], [2], id="nothing-is-counted"),
    ],
)
def test_inputs_that_the_server_cut_are_failures_and_no_others(
    told: Callable[[Sequence[int]], int], packs: list[list[int]], cut: list[int], asked: list[int]
) -> None:
    server = Server(told)
    results = embed(server, packs)
    failed = [place for place, result in enumerate(results) if isinstance(result, Failure)]

    assert failed == cut
    assert {result.kind for result in results if isinstance(result, Failure)} <= {"truncated_input"}
    assert server.asked == asked
