"""`prefect deploy --all` in a clone, on a server on which nothing was made before, with nothing set but its address."""

import pytest

from tests.support.own_server import OwnServer
from tests.support.serving import NAMES, OLD_NAMES, POOL, client_of

pytestmark = pytest.mark.xdist_group("outages")


async def test_the_command_makes_what_a_fresh_server_lacks_and_deploys_all(own: OwnServer):
    async with client_of(own.api_url) as client:
        deployments = await client.read_deployments()
        pool = await client.read_work_pool(POOL)

    assert f"made work pool {POOL}" in own.deployed
    assert "made block promptmill-checkpoints" in own.deployed
    assert "made automation promptmill-dead-runs" in own.deployed
    assert own.deployed.count("made work pool") == 1
    assert (pool.type, len(deployments)) == ("process", len(NAMES | OLD_NAMES))
    assert {deployment.work_pool_name for deployment in deployments} == {POOL}
