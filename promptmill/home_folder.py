"""Where this user's own Prefect, and what Promptmill keeps for this user alone, lie on this machine."""

import os
from pathlib import Path


def prefect_home() -> Path:
    """The folder of this user's own Prefect."""
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
