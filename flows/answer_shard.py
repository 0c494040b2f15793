"""One shard of a dataset that online-inference has split: any free worker answers its rows.

Only that run starts it, and names in `plan_url` the plan that it wrote. If the shard crashes, the run starts it again, and
the shard sends only what is missing.
"""

from typing import Any

from prefect import flow

from tasks.server.deployable import deployable
from tasks.sharding.shard import answer_share


@deployable
@flow(name="answer-shard", persist_result=False)
async def answer_shard(plan_url: str, shard: int, attempt: int = 1) -> dict[str, Any]:
    """Answer the rows of one shard; the run that split the dataset publishes them.

    Args:
        plan_url: The URL of the plan that the run wrote.
        shard: The shard's number; 0 is the first.
        attempt: 1 for the first attempt at this shard.
    """
    return await answer_share(plan_url, shard, attempt)
