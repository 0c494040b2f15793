"""Kubernetes manifests of the pages, compared with what the repository's image and pools have."""

import re
from typing import Any

from tasks.server.work_pool import GRACE_SECONDS, SIZES
from tests.support.paths import ROOT


def check_manifest(manifest: dict[str, Any]) -> None:
    """Whether a manifest fits the image: its user, its memory, the time it needs to end, the variables it knows."""
    assert manifest["kind"] == "Deployment", manifest["kind"]
    pod = manifest["spec"]["template"]
    assert pod["metadata"]["labels"] == manifest["spec"]["selector"]["matchLabels"]
    spec = pod["spec"]
    assert spec["terminationGracePeriodSeconds"] == GRACE_SECONDS
    assert str(spec["securityContext"]["runAsUser"]) in re.findall(
        r"^USER (\d+)$", (ROOT / "deployments/Dockerfile").read_text(), flags=re.MULTILINE
    )
    (container,) = spec["containers"]
    assert container["resources"]["requests"]["memory"] == SIZES["memory_request"]
    known = (ROOT / "docs/deploying.md").read_text()
    names = [one["name"] for one in container["env"]]
    assert [name for name in names if name not in known and not name.startswith("OPENAI_")] == []
