"""Which files a URL means: an existing name comes before a pattern, and what holds no rows is left out.

`reviews [final].csv`, `data?.csv` and a folder `runs [x]` are names that people give. So a sign of a pattern counts only
in the part of a path that doesn't exist as it is written. The query of a web address belongs to its server, not to us.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from promptmill.hive_folders import values_in

_SIGNS = "*?["
_WEB = ("http://", "https://")
_OWN_PART = re.compile(r"([^/=]+=[^/]*/)*part-[0-9a-f]{8}-[0-9]{5,}\.parquet")  # as a run names what it publishes
_FOLDER_MARK = "_$folder$"  # ends the names of objects that Hadoop makes for folders


@dataclass(frozen=True, slots=True)
class Found:
    """Files at a URL."""

    root: str  # the folder below which folders such as day=2024-01-31 are partitions
    paths: Sequence[str]
    is_listed: bool  # found in a listing, so that not each of them need be an input
    infos: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )  # what the listing tells


def path_of(path: str) -> str:
    """The path without the query of a web address, for suffixes and names."""
    return urlsplit(path).path if path.startswith(_WEB) else path


def find(fs: fsspec.AbstractFileSystem, root: str) -> Found:
    """The files at a root, in order; none when there is nothing."""
    has_signs = any(sign in path_of(root) for sign in _SIGNS)
    is_web_file = root.startswith(_WEB) and bool(PurePosixPath(path_of(root)).suffix or "?" in root)
    if is_s3(fs):
        infos = _by_path(fs.find(root, detail=True))  # its isdir would list all of it once more, 1,000 names a request
        is_folder, is_file = bool(infos) and list(infos) != [root], list(infos) == [root]
    else:
        is_folder = not is_web_file and bool(fs.isdir(root))
        infos = _by_path(fs.find(root, detail=True)) if is_folder else {}
        is_file = not is_folder and bool(fs.exists(root))
    if is_folder:
        return Found(root, [path for path in infos if _is_shown(path, root)], True, infos)
    if is_file:
        return Found(root, [root], False, infos)
    if not has_signs:
        return Found(root, [], False)
    base, pattern = _split(fs, root)
    infos = _by_path(fs.glob(f"{_escaped(base)}{pattern}", detail=True))
    return Found(base, [path for path, info in infos.items() if not _is_folder(fs, path, info)], True, infos)


def without_output(found: Found, output: str) -> list[str]:
    """The files that no run of ours has written to the folder `output`, which may be the input's or inside it."""
    root, inside = found.root.rstrip("/"), f"{output.rstrip('/')}/"
    if inside.startswith(f"{root}/") and inside != f"{root}/":
        return [path for path in found.paths if not path.startswith(inside)]
    return [path for path in found.paths if not (path.startswith(inside) and _OWN_PART.fullmatch(path[len(inside) :]))]


def is_s3(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether a filesystem is S3."""
    protocols = fs.protocol
    return "s3" in ((protocols,) if isinstance(protocols, str) else protocols)


def is_marker(path: str) -> bool:
    """Whether a path stands for a folder."""
    return path.endswith(("/", _FOLDER_MARK))


def partitions_of(path: str, root: str) -> tuple[tuple[str, str | None], ...]:
    """The columns that the folders below the root stand for, such as day=2024-01-31."""
    return values_in(path[len(root) :])


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


def _is_folder(fs: fsspec.AbstractFileSystem, path: str, info: Mapping[str, Any]) -> bool:
    """Whether a path that was listed is a folder; a link on this machine may lead to one."""
    return bool(fs.isdir(path)) if isinstance(fs, LocalFileSystem) else info.get("type") == "directory"


def _by_path(listed: Any) -> dict[str, Mapping[str, Any]]:
    return dict(sorted(cast(dict[str, Mapping[str, Any]], listed).items()))


def _is_shown(path: str, root: str) -> bool:
    """Whether no part of the path below the root begins with _ or a dot, as writers name files that hold no data."""
    return not any(part.startswith(("_", ".")) for part in PurePosixPath(path[len(root) :].strip("/")).parts)
