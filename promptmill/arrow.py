"""`pyarrow.compute`, untyped: it creates its functions while it is imported, so a type checker doesn't know them.

And how deep a column's type may be, for every room that makes columns out of JSON.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute

MAX_LEVELS = 30  # of lists and structs: Arrow 26 reads no Parquet with more than 100 levels, and a list takes 2 of them


def levels_of(kind: pa.DataType) -> int:
    """How many lists and structs stand inside each other in a type; 0 for a plain one."""
    return max((1 + levels_of(kind.field(i).type) for i in range(kind.num_fields)), default=0)
