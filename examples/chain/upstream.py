"""Upstream of Promptmill: a flow that makes a dataset and announces it.

It does so in three ways, any of which is enough: its run's own end, an asset, and an event `dataset.published`. The
deployment online-inference/on-dataset listens for the event; prefect.yaml has triggers for the other two, switched off.
`python -m examples.chain.upstream s3://lake/reviews/today.parquet` publishes one by hand.
"""

import sys

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow
from prefect.assets import materialize
from prefect.events import emit_event

TEXTS = ("Lovely, twice as good as I hoped.", "It broke on the second day.", "Does what it should.")


def write_reviews(url: str) -> None:
    """Write a few reviews as Parquet to any fsspec URL."""
    with fsspec.open(url, "wb") as file:
        pq.write_table(pa.table({"text": list(TEXTS)}), file)


@flow(name="publish-reviews")
def publish_reviews(url: str) -> None:
    """Publish a dataset of reviews.

    Args:
        url: Where to: s3://… or file:///….
    """
    materialize(url, name="write-reviews")(write_reviews)(url)
    emit_event("dataset.published", resource={"prefect.resource.id": "dataset.reviews"}, payload={"url": url})


if __name__ == "__main__":
    publish_reviews(sys.argv[1])
