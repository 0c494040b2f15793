"""Keys that somebody renews while a run goes on: in a file, or by a command that prints one.

A command serves what a library for each cloud would: `az account get-access-token --resource
https://cognitiveservices.azure.com --query accessToken --output tsv` prints an Entra ID token, `gcloud auth
print-access-token` one of Google's. A token that says when it ends (RFC 7519, `exp`) is renewed before that.
"""

import base64
import os
import shlex
import subprocess
import time
from binascii import Error as NoBase64
from pathlib import Path
from threading import Lock

import orjson

from promptmill.errors import CredentialsError
from promptmill.provider.json_fields import mapping_of

KEY_FILE_SETTING = "PROMPTMILL_KEY_FILE"
_COMMAND_SETTING = "PROMPTMILL_KEY_COMMAND"
_COMMAND_SECONDS = 60.0  # that it may take
_KEPT_SECONDS = 10.0  # that its key is taken without running it again
_printed: dict[str, tuple[float, str]] = {}  # command → when it was run, and the key
_turn = Lock()


def has_renewable_key() -> bool:
    """Whether the operator names a file or a command."""
    return any(os.environ.get(setting, "").strip() for setting in (KEY_FILE_SETTING, _COMMAND_SETTING))


def renewable_key() -> str | None:
    """The key in the file, or of the command, that the operator names; None where neither is named. Blocks.

    Raises: CredentialsError.
    """
    path = os.environ.get(KEY_FILE_SETTING, "").strip()
    if path:
        return _key_in_file(path)
    command = os.environ.get(_COMMAND_SETTING, "").strip()
    return _key_of(command) if command else None


def expiry_of(key: str) -> float | None:
    """When a token ends, in seconds since the epoch; None for a key that doesn't say."""
    parts = key.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = mapping_of(orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))))
    except (NoBase64, ValueError):
        return None
    end = claims.get("exp")
    return float(end) if isinstance(end, int | float) else None


def _key_in_file(path: str) -> str:
    try:
        key = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(
            f"the key file {path} can't be read ({type(error).__name__}); {KEY_FILE_SETTING} names it. Give access to it, or "
            "take the setting away to use OPENAI_API_KEY."
        ) from None
    if not key:
        raise CredentialsError(f"the key file {path} is empty; {KEY_FILE_SETTING} names it. Write the key into it.")
    return key


def _key_of(command: str) -> str:
    with _turn:
        at, key = _printed.get(command, (float("-inf"), ""))
        if time.monotonic() - at >= _KEPT_SECONDS:
            key = _run(command)
            _printed[command] = (time.monotonic(), key)
        return key


def _run(command: str) -> str:
    """What a command prints; its output is never quoted, since it may hold a key."""
    remedy = f"Run it by hand, then correct {_COMMAND_SETTING}."
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_COMMAND_SECONDS
        )
        key = done.stdout.decode().strip()
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise CredentialsError(f"the key command can't be run ({type(error).__name__}). {remedy}") from None
    if done.returncode != 0 or not key:
        said = "prints nothing" if done.returncode == 0 else f"ends with exit code {done.returncode}"
        raise CredentialsError(f"the key command {said}; it must print the key. {remedy}")
    return key
