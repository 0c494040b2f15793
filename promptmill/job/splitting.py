"""Checks how a job splits its rows: over the processes of one machine, or over shards on several machines. Pure."""

from typing import Literal


def most_parts(processes: int | Literal["auto"], shards: int) -> int:
    """The most parts into which the job splits its rows; 2 if the run itself decides how many are worth it."""
    return max(2 if processes == "auto" else processes, shards)


def refuse_two_splits(processes: int | str, is_sharded: bool, shared: str | None) -> None:
    """Raises ValueError if a job asks for processes together with shards, or with a limit that they can't lease."""
    if processes == 1:
        return
    if is_sharded:
        raise ValueError(
            f"processes is {processes} and the job has shards too; the rows are split once. For several machines leave "
            "processes out and set shards to machines times cores"
        )
    if shared is not None and processes != "auto":
        raise ValueError(
            f"processes is {processes} and limits.shared is {shared!r}, which a run's own process leases from a Prefect "
            "server. Leave processes out, or set shards instead: each of them leases for itself"
        )
