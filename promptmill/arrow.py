"""`pyarrow.compute`, untyped: it creates its functions while it is imported, so a type checker doesn't know them."""

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
