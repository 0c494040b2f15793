"""Work pools of types whose workers aren't installed here: what can be deployed to them, and with which job template."""

from typing import Any

import pytest

from promptmill.errors import SetupError
from tasks.server.resources import parse_limit
from tasks.server.work_pool import Pool, fitted
from tests.support.own_server import OwnServer
from tests.support.serving import NAMES, OLD_NAMES, client_of


@pytest.mark.xdist_group("outages")
async def test_everything_is_deployed_to_a_kubernetes_pool_of_another_name(own: OwnServer):
    """The last on this server: its deployments stay in that pool."""
    own.settings["PROMPTMILL_WORK_POOL"] = "cluster"
    own.deploy("--pool-type", "kubernetes", "--image", "registry.example.com/promptmill:1")
    async with client_of(own.api_url) as client:
        deployments = await client.read_deployments()
        flows = {flow.id: flow.name for flow in await client.read_flows()}
        pool = await client.read_work_pool("cluster")
    variables = pool.base_job_template["variables"]["properties"]
    pod = pool.base_job_template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]

    assert {f"{flows[one.flow_id]}/{one.name}" for one in deployments} == NAMES | OLD_NAMES
    assert {one.work_pool_name for one in deployments} == {"cluster"}
    assert pool.type == "kubernetes"
    assert {name: variables[name]["default"] for name in ("image", "memory_limit")} == {
        "image": "registry.example.com/promptmill:1",
        "memory_limit": "1Gi",
    }
    assert pod["terminationGracePeriodSeconds"] == 60


@pytest.mark.xdist_group("outages")
async def test_a_pool_is_made_of_any_type_that_the_server_knows_and_keeps_its_type(own: OwnServer):
    async with client_of(own.api_url) as client:
        containers = Pool(client, "containers", "docker", "promptmill:1")
        was_there = await containers.is_there()
        await containers.make()
        is_there = await containers.is_there()
        is_same_image = await Pool(client, "containers", None, "promptmill:2").is_there()
        with pytest.raises(SetupError, match="is of type 'process'; --pool-type says 'docker'"):
            await Pool(client, "promptmill", "docker").is_there()
        with pytest.raises(SetupError, match="knows no work pool type 'nonsense'"):
            await Pool(client, "nowhere", "nonsense").make()

    assert (was_there, is_there, is_same_image) == (False, True, False)


def template(**variables: dict[str, Any]) -> dict[str, Any]:
    """A job template with some variables."""
    return {"variables": {"properties": variables}, "job_configuration": {}}


def test_a_pool_keeps_what_its_operator_has_set_except_for_the_image():
    given = template(image={"default": "old"}, memory_limit={"default": "4Gi"}, memory_request={"default": None})
    found = fitted(given, "new")["variables"]["properties"]

    assert {name: one["default"] for name, one in found.items()} == {
        "image": "new",
        "memory_limit": "4Gi",
        "memory_request": "1Gi",
    }


@pytest.mark.parametrize("text", ["luna", "luna=", "luna=60", "=60,1000", "luna=0,1000", "luna=many,1000"])
def test_a_malformed_limit_is_refused_in_a_sentence(text: str):
    with pytest.raises(SetupError, match="NAME=REQUESTS,TOKENS"):
        parse_limit(text)
