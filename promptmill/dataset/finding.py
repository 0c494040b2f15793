"""Which files a URL means: an existing name comes before a pattern, and what holds no rows is left out.

`reviews [final].csv`, `data?.csv` and a folder `runs [x]` are names that people give. So a sign of a pattern counts only
in the part of a path that doesn't exist as it is written. The query of a web address belongs to its server, not to us.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import fsspec

_SIGNS = "*?["
_WEB = ("http://", "https://")
_OWN_PART = re.compile(r"part-[0-9a-f]{8}-[0-9]{5,}\.parquet")  # as a run names what it publishes
_FOLDER_MARK = "_$folder$"  # ends the names of objects that Hadoop makes for folders
_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class Found:
    """Files at a URL."""

    root: str  # the folder below which folders such as day=2024-01-31 are partitions
    paths: Sequence[str]
    is_listed: bool  # found in a listing, so that not each of them need be an input


def path_of(path: str) -> str:
    """The path without the query of a web address, for suffixes and names."""
    return urlsplit(path).path if path.startswith(_WEB) else path


def find(fs: fsspec.AbstractFileSystem, root: str) -> Found:
    """The files at a root, in order; none when there is nothing."""
    has_signs = any(sign in path_of(root) for sign in _SIGNS)
    is_web_file = root.startswith(_WEB) and bool(PurePosixPath(path_of(root)).suffix or "?" in root)
    if not is_web_file and fs.isdir(root):
        return Found(root, [path for path in _sorted(fs.find(root)) if _is_shown(path, root)], True)
    if fs.exists(root):
        return Found(root, [root], False)
    if not has_signs:
        return Found(root, [], False)
    base, pattern = _split(fs, root)
    paths = [path for path in _sorted(fs.glob(f"{_escaped(base)}{pattern}")) if not fs.isdir(path)]
    return Found(base, paths, True)


def without_output(found: Found, output: str) -> list[str]:
    """The files that no run of ours has written to the folder `output`, which may be the input's or inside it."""
    root, inside = found.root.rstrip("/"), f"{output.rstrip('/')}/"
    if inside.startswith(f"{root}/") and inside != f"{root}/":
        return [path for path in found.paths if not path.startswith(inside)]
    return [path for path in found.paths if not (path.startswith(inside) and _OWN_PART.fullmatch(path[len(inside) :]))]


def is_marker(path: str) -> bool:
    """Whether a path stands for a folder."""
    return path.endswith(("/", _FOLDER_MARK))


def partitions_of(path: str, root: str) -> tuple[tuple[str, str | None], ...]:
    """The columns that the folders below the root stand for, such as day=2024-01-31; percent signs are decoded."""
    folders = PurePosixPath(path[len(root) :].strip("/")).parts[:-1]
    pairs = [folder.partition("=") for folder in folders if "=" in folder and not folder.startswith("=")]
    return tuple((unquote(name), None if value == _NULL else unquote(value)) for name, _, value in pairs)


def _split(fs: fsspec.AbstractFileSystem, root: str) -> tuple[str, str]:
    """The part of a path before its pattern, which ends with a slash, and the pattern."""
    parts = root.split("/")
    for at, part in enumerate(parts):
        if any(sign in part for sign in _SIGNS) and not fs.exists("/".join(parts[: at + 1])):
            base = "/".join(parts[:at])
            return (f"{base}/" if at else ""), "/".join(parts[at:])
    return root, ""


def _escaped(path: str) -> str:
    return "".join(f"[{sign}]" if sign in _SIGNS else sign for sign in path)


def _sorted(paths: Any) -> list[str]:
    return sorted(cast(list[str], paths))


def _is_shown(path: str, root: str) -> bool:
    """Whether no part of the path below the root begins with _ or a dot, as writers name files that hold no data."""
    return not any(part.startswith(("_", ".")) for part in PurePosixPath(path[len(root) :].strip("/")).parts)
