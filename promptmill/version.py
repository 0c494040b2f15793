"""The installed version."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("promptmill")
    except PackageNotFoundError:  # this is a checkout that isn't installed
        return "0+checkout"


VERSION = _installed()
