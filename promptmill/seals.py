"""A seal on JSON values that others can write too: it proves that this user's own commands and workers wrote them.

Its key lies in PREFECT_HOME, and never beside what is sealed.
"""

import hmac
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from promptmill.home_folder import prefect_home

_KEY_FILE = "promptmill-registry.key"
_KEY_BYTES = 32


def seal(values: Mapping[str, Any]) -> str:
    """What proves that this user wrote these JSON values; empty where the home can keep no key."""
    key = _key()
    return "" if key is None else hmac.digest(key, orjson.dumps(values, option=orjson.OPT_SORT_KEYS), "sha256").hex()


def is_sealed(values: Mapping[str, Any], found: str) -> bool:
    """Whether a seal is this user's for these values."""
    expected = seal(values)
    return expected != "" and hmac.compare_digest(expected.encode(), found.encode())


def _key() -> bytes | None:
    """The user's own key, made where there is none."""
    path = prefect_home() / _KEY_FILE
    with suppress(FileExistsError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        if not path.exists():
            own.touch(mode=0o600)
            own.write_bytes(secrets.token_bytes(_KEY_BYTES))
            try:
                os.link(own, path)  # fails where another process was first
            finally:
                own.unlink()
    try:
        key = path.read_bytes()
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None
