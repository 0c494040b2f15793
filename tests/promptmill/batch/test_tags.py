"""A batch's metadata carries the tags of its job, beside our own."""

from promptmill.provider.transport import Credentials, make_blocking_sdk
from tests.support.batching import carry_batches
from tests.support.jobs import MakeJob


async def test_a_batch_carries_the_tags_of_its_job(make_job: MakeJob, credentials: Credentials):
    tags = {"team": "search", "cost centre": "4711"}
    manifest = await carry_batches(make_job(3, tags=tags, batch__poll_seconds=0.05), credentials)
    with make_blocking_sdk(credentials) as client:
        (batch,) = client.batches.list()

    assert (manifest.succeeded, manifest.job["tags"]) == (3, tags)
    assert {**(batch.metadata or {}), **tags, "promptmill_job": "test"} == batch.metadata
