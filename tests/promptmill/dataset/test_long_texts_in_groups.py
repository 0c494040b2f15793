"""Long texts in Parquet: how many rows fit in memory is found out for a row group when its turn comes."""

from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from promptmill.dataset.files import Files, InputFile
from promptmill.dataset.parquet_source import ParquetSource
from promptmill.job.spec import Input

_GROUPS = 6


class _CountedFiles(Files):
    opened = 0

    def open_raw(self, file: InputFile) -> IO[bytes]:
        self.opened += 1
        return super().open_raw(file)


def _source(folder: Path) -> tuple[ParquetSource, _CountedFiles, pa.Table]:
    texts = [letter * 40_000 for letter in "abcdef" for _ in range(5)]
    table = pa.table({"text": texts})
    pq.write_table(table, folder / "a.parquet", row_group_size=5, compression="none")
    files = _CountedFiles(Input(url=str(folder / "a.parquet")))
    return ParquetSource(files), files, table


def test_dictionaries_of_a_row_group_are_read_when_its_turn_comes(tmp_path: Path) -> None:
    source, files, table = _source(tmp_path)
    files.opened = 0

    blocks = source.of_files(["text"], 0)
    found = [next(blocks)[1]]
    first = files.opened
    found += [block for _, block in blocks]

    assert first == 2  # the file, and the first group's dictionary
    assert files.opened == 1 + _GROUPS
    assert pa.concat_tables(found).equals(table)
