"""`pyarrow.compute` for type checkers: its functions are made when it is imported, and none of them knows them."""

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
