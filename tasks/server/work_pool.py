"""Makes the work pool with the job template of its type, so that an operator can change it in the UI before a worker starts.

A pool that is made without a template gets one from its first worker only (prefect 3.8.8, server/api/workers.py). The
templates of types that aren't installed here come from the server, which needs no network for them.
"""

from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from promptmill.errors import SetupError

DEFAULT_TYPE = "process"
GRACE_SECONDS = 60  # between SIGTERM and SIGKILL: a run needs seconds to keep the answers on their way
SIZES = {  # measured: about 400 MB, and reports and Parquet parts come on top; one event loop
    "memory_request": "1Gi",
    "memory_limit": "1Gi",
    "cpu_request": "1",
    "mem_limit": "1g",
}


class Pool:
    """A work pool as it should be: of a type, and with a job template."""

    def __init__(self, client: PrefectClient, name: str, kind: str | None, image: str | None = None) -> None:
        """`kind` None: the type of the pool that is there; process if there is none."""
        self.name = name
        self._client = client
        self._kind = kind
        self._image = image

    async def is_there(self) -> bool:
        """Whether it is as it should be. Raises: SetupError when it is of another type."""
        found = await self._read()
        return found is not None and bool(found.base_job_template) and not self._has_other_image(found)

    async def make(self) -> None:
        """Make it, or give it its job template. Raises: SetupError for a type that the server doesn't know."""
        found = await self._read()
        if found is None:
            kind = self._kind or DEFAULT_TYPE
            template = fitted(await _default_template(kind), self._image)
            await self._client.create_work_pool(WorkPoolCreate(name=self.name, type=kind, base_job_template=template))
            return
        template = fitted(found.base_job_template or await _default_template(found.type), self._image)
        await self._client.update_work_pool(self.name, WorkPoolUpdate(base_job_template=template))

    def _has_other_image(self, found: WorkPool) -> bool:
        image = _variables(found.base_job_template).get("image")
        return self._image is not None and image is not None and image.get("default") != self._image

    async def _read(self) -> WorkPool | None:
        try:
            found = await self._client.read_work_pool(self.name)
        except ObjectNotFound:
            return None
        if self._kind is not None and found.type != self._kind:
            raise SetupError(
                f"the work pool {self.name!r} is of type {found.type!r}; --pool-type says {self._kind!r}, and a pool "
                "keeps its type. Name another one in PROMPTMILL_WORK_POOL, or delete it: "
                f"prefect work-pool delete {self.name}"
            )
        return found


async def _default_template(kind: str) -> dict[str, Any]:
    """Prefect's own job template for a type. Raises: SetupError for a type that the server doesn't know."""
    template = await get_default_base_job_template_for_infrastructure_type(kind)
    if not template:
        raise SetupError(
            f"the Prefect server knows no work pool type {kind!r}; --pool-type takes process, docker, kubernetes and "
            "others that `prefect work-pool create --help` names. Fix it."
        )
    return template


def fitted(template: dict[str, Any], image: str | None) -> dict[str, Any]:
    """The job template, with what our runs need where it leaves something open, and with `image` instead of its own image."""
    variables = _variables(template)
    for name, value in SIZES.items():
        if name in variables and variables[name].get("default") is None:
            variables[name]["default"] = value
    if image is not None and "image" in variables:
        variables["image"]["default"] = image
    pod = template.get("job_configuration", {}).get("job_manifest", {}).get("spec", {}).get("template", {}).get("spec")
    if pod is not None:
        pod.setdefault("terminationGracePeriodSeconds", GRACE_SECONDS)
    return template


def _variables(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return template.get("variables", {}).get("properties", {})
