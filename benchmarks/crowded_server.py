"""A provider that takes so many requests at once and refuses the rest, and of those it takes leaves some unanswered.

`python -m benchmarks.crowded_server PORT CAPACITY SECONDS STATUS HANGING`; `/counts` says what became of the requests.
"""

import asyncio
import random
import sys
import time
from collections import Counter

from aiohttp import web

BODY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-6-luna",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": '{"label": "mixed", "confidence": 0.5, "reason": "both"}'},
        }
    ],
    "usage": {"prompt_tokens": 90, "completion_tokens": 20, "total_tokens": 110},
}


def main(port: str, capacity: str, seconds: str, status: str, hanging: str) -> None:
    """Serve until the process is ended."""
    counts: Counter[str] = Counter()
    answered: list[float] = []
    chance = random.Random(5)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if counts["busy"] >= int(capacity):
            counts["refused"] += 1
            return web.json_response({"error": {"message": "busy"}}, status=int(status))
        if counts["taken"] > 500 and chance.random() < float(hanging):
            counts["hung"] += 1
            await asyncio.sleep(3_600)
        counts["taken"] += 1
        counts["busy"] += 1
        counts["most"] = max(counts["most"], counts["busy"])
        await asyncio.sleep(float(seconds) * chance.lognormvariate(0, 0.3))
        counts["busy"] -= 1
        answered.append(time.monotonic())
        return web.json_response(BODY)

    async def tell(_: web.Request) -> web.Response:
        return web.json_response({**counts, "answered_at": answered})

    application = web.Application()
    application.router.add_post("/v1/chat/completions", answer)
    application.router.add_get("/counts", tell)
    web.run_app(application, host="127.0.0.1", port=int(port), print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
