"""`promptmill.read`: the rows of a finished output, or those that are answered so far."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptmill.output import reading

if TYPE_CHECKING:  # it is imported with the first frame
    import pandas as pd


def read(url: str, columns: Sequence[str] | None = None, *, partial: bool = False) -> "pd.DataFrame":
    """The succeeded rows of an output, in input order, or folder by folder if the job partitions; all columns, or these.

    With `partial`, the output needn't be complete: the rows that are answered so far, in input order, while a run is under
    way or after one that ended early. `url` may then be a job file. It reads the input, and the answers that are stored.

    Raises: OutputError when the output isn't complete, can't be read, or lacks one of the columns; with `partial`, when no
    run has begun there.
    """
    if not partial:
        return reading.read(url, columns)
    from promptmill.so_far import rows_so_far, so_far  # it takes half a second, for what prepares a run

    found = so_far(url)
    if found.prepared is None:
        return reading.read(found.url, columns)
    return reading.to_frame(rows_so_far(found.prepared, columns))
