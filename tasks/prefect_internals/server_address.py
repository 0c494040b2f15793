"""Finds the Prefect server that the settings name, without importing Prefect if they can't name one.

Importing Prefect takes two seconds of CPU. For prefect 3.8.8, `prefect.settings.sources`: the environment comes first,
then `.env`, `prefect.toml`, `pyproject.toml` and the active profile. Only if one of these files has a word that may name a
server do we ask Prefect itself.
"""

import os
import sys
from pathlib import Path

_VARIABLE = "PREFECT_API_URL"
_FILES = {
    ".env": _VARIABLE,
    "prefect.toml": "url",
    "pyproject.toml": "tool.prefect",
}  # file → what an address needs in it


def server_address() -> str | None:
    """The API's URL of the Prefect server that this process would use; None if nobody named one."""
    if "prefect" not in sys.modules:
        if (given := os.environ.get(_VARIABLE)) is not None:
            return given or None
        if not any(_has(Path(path), word) for path, word in (*_FILES.items(), (_profiles(), _VARIABLE))):
            return None
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() or None


def _profiles() -> str:
    """The file of Prefect's profiles."""
    home = os.environ.get("PREFECT_HOME") or Path.home() / ".prefect"
    return os.environ.get("PREFECT_PROFILES_PATH") or str(Path(home, "profiles.toml"))


def _has(path: Path, word: str) -> bool:
    try:
        return word.lower() in path.read_text(errors="replace").lower()
    except OSError:
        return False
