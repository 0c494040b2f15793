"""Where a server keeps the leases of runs, as its settings say. For prefect 3.8.8, GET /admin/settings."""

from typing import Any, cast

IN_MEMORY = "prefect.server.concurrency.lease_storage.memory"  # Prefect's default: lost when the server restarts


def lease_storage_of(settings: object) -> str | None:
    """The module that keeps the leases; None if the settings don't name one where we look for it."""
    place = settings
    for key in ("server", "concurrency", "lease_storage"):
        place = cast(dict[str, Any], place).get(key) if isinstance(place, dict) else None
    return place if isinstance(place, str) else None
