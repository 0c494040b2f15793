"""The installed version."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("promptmill")
except PackageNotFoundError:  # run from a checkout that isn't installed
    VERSION = "0+checkout"
