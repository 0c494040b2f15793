"""Rows that a client asks a provider of a test's own for, on a virtual clock."""

import asyncio
from collections.abc import Sequence
from typing import Any

from promptmill.errors import RunStopped
from promptmill.job.spec import Retry
from promptmill.limits.budget import Budget
from promptmill.limits.places import Places
from promptmill.limits.pricing import prices_for
from promptmill.limits.rate_limiter import RateLimiter
from promptmill.provider.billing import Billing
from promptmill.provider.client import Client
from promptmill.provider.transport import Sender
from promptmill.records import Request, Result
from promptmill.runs.completion import complete_request
from promptmill.runs.judging import Validate
from promptmill.stop import Slot, Stop
from tests.support.clock import run_on_clock


def answer_each(
    sender: Sender, requests: Sequence[Request], *, at_once: int = 8, validate: Validate | None = None, **parts: Any
) -> list[Result | RunStopped]:
    """Each request's result, or why it has none; `parts` are those of the client that a test gives it."""

    async def scenario() -> list[Result | RunStopped]:
        given: dict[str, Any] = {
            "billing": Billing(prices_for("gpt-6-luna", None), None, len),
            "retry": Retry.model_validate({}),
            **parts,
        }
        client = Client(
            sender=sender,
            endpoint="chat.completions",
            limiter=RateLimiter(60_000, None),
            budget=Budget(None),
            stop=Stop(),
            **given,
        )
        places = Places(at_once)

        async def answer(request: Request) -> Result | RunStopped:
            slot = Slot(places)
            await slot.acquire()
            try:
                return await complete_request(client, request, slot, validate)
            except RunStopped as error:
                return error
            finally:
                slot.release()

        return await asyncio.gather(*map(answer, requests))

    return run_on_clock(scenario())
