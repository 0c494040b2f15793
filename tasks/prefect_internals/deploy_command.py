"""Tells whether this process is `prefect deploy`, and its work pool. For prefect 3.8.8, `prefect.cli.deploy`.

That command loads each flow before it looks for the work pool, and runs a deployment's steps only after it has found the
pool. So we can make a fresh server's missing parts only at the moment when the command loads a flow.
"""

import sys
from collections.abc import Collection, Sequence

from prefect.settings import PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME

COMMAND = "prefect.cli.deploy._core"  # nothing but the command itself imports it
_POOL_OPTIONS = ("--pool", "-p")


def pool_of_deploy_command() -> str | None:
    """The pool that the settings name for `prefect deploy`, if this process is that command and uses it."""
    return pool_of(sys.modules, sys.argv, PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME.value())


def pool_of(modules: Collection[str], words: Sequence[str], default: str | None) -> str | None:
    """`words` are those of the command line, `default` is the pool of the settings."""
    is_named = any(word.partition("=")[0] in _POOL_OPTIONS for word in words)
    return default if COMMAND in modules and not is_named else None
