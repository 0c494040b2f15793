"""Downstream of Promptmill: a flow that starts when a run has finished, and reads its answers.

The prefect.yaml beside it deploys it; the trigger there passes the manifest's URL from our event.
"""

from collections import Counter

from prefect import flow, task
from prefect.artifacts import create_table_artifact

import promptmill


@task
def count_answers(manifest_url: str) -> dict[str, int]:
    """Count how often each answer occurs. Any reader of Parquet works too: the output is an ordinary dataset."""
    answers = promptmill.read(manifest_url.removesuffix("/_manifest.json"), columns=["response"])
    return dict(Counter(answers["response"]))


@flow(name="count-answers")
def count_answers_of(manifest_url: str) -> dict[str, int]:
    """Show how often each answer was given.

    Args:
        manifest_url: The URL of a finished run's manifest, as our event gives it.
    """
    counts = count_answers(manifest_url)
    create_table_artifact([{"answer": answer, "rows": rows} for answer, rows in counts.items()], key="answers")
    return counts
