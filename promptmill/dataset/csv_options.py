"""What the first pass found out about a CSV file, and what Arrow is told of it."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pacsv

from promptmill.dataset.csv_dialect import Dialect
from promptmill.job.input_spec import Csv

BLOCKS = (1 << 18, 1 << 20, 8 << 20, 32 << 20)  # bytes that Arrow reads at once, the fewest that hold the longest row
AHEAD_BYTES = 32 << 20  # that Arrow may hold: it reads 32 blocks ahead, and of larger ones it must be kept from that


@dataclass(frozen=True, slots=True)
class Known:
    """What the first pass found out about a file."""

    names: tuple[str, ...]  # empty when the file has no rows
    dialect: Dialect
    block_bytes: int = BLOCKS[0]
    rows: int = 0
    wrong: tuple[pacsv.InvalidRow, ...] = ()  # the first rows with too many or too few fields
    wrong_count: int = 0

    @property
    def first_row(self) -> int:
        """The number of the first row with values, as Arrow counts."""
        return 1 + self.dialect.skip_lines + self.dialect.header


def arrow_options(
    known: Known, schema: pa.Schema, asked: Csv
) -> tuple[pacsv.ReadOptions, pacsv.ParseOptions, pacsv.ConvertOptions]:
    """How Arrow reads a file, whose columns have the types of the schema."""
    dialect = known.dialect
    read = pacsv.ReadOptions(
        use_threads=False,
        block_size=known.block_bytes,
        skip_rows=dialect.skip_lines,
        column_names=None if dialect.header else list(known.names),
    )
    parse = pacsv.ParseOptions(
        delimiter=dialect.delimiter,
        quote_char=dialect.quote or False,
        escape_char=dialect.escape or False,
        newlines_in_values=True,
    )
    convert = pacsv.ConvertOptions(
        column_types=schema,
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""] if asked.null_values is None else asked.null_values,
    )
    return read, parse, convert
