"""One shard of a dataset that online-inference has split up: its rows answered on whatever worker is free.

Started by that run and by nobody else: `plan_url` names what it wrote down. Run again after any death, it sends only
what is missing.
"""

from typing import Any

from prefect import flow

from tasks.sharding.shard import answer_share


@flow(name="answer-shard", persist_result=False)
async def answer_shard(plan_url: str, shard: int, attempt: int = 1) -> dict[str, Any]:
    """Answer the rows of one shard; the run that split the dataset publishes them.

    Args:
        plan_url: Where that run wrote its shards down.
        shard: Which one; 0 is the first.
        attempt: How often it has been tried, this time included.
    """
    return await answer_share(plan_url, shard, attempt)
