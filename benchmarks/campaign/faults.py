"""Take a storage away, or fill it, for a while: the storage is a folder of this machine."""

import contextlib
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.campaign.jobs import Place

DISK = "8m"
BLOCK = b"\0" * 4096


def open_door(place: Place) -> None:
    """Let the job's output URL lead to the storage."""
    _link(place.door, place.storage)


def close_door(place: Place) -> None:
    """Let the job's output URL lead round in a circle: every call of the storage fails, none makes a new folder."""
    _link(place.door, place.door)


def _link(link: Path, target: Path) -> None:
    """Point a link elsewhere in one step, so that there is no moment without it."""
    fresh = link.with_name(f"{link.name}-new")
    fresh.symlink_to(target)
    os.replace(fresh, link)


@contextmanager
def small_disk(folder: Path) -> Generator[bool]:
    """A folder on a disk of its own until the block ends; False if this machine doesn't let us mount one."""
    words = ("mount", "-t", "tmpfs", "-o", f"size={DISK}", "promptmill-campaign", str(folder))
    try:
        is_mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(("umount", "--lazy", str(folder)), check=True)


def fill(folder: Path) -> None:
    """Fill a small disk to the last byte, so that not even a small file fits."""
    with (folder / "_ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(BLOCK)


def empty(folder: Path) -> None:
    """Free what `fill` took."""
    (folder / "_ballast").unlink(missing_ok=True)
