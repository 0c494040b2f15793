"""Text files and workbooks as one dataset: their readers find the types first, then give the rows in blocks."""

from collections.abc import Collection, Iterator

import pyarrow as pa

from promptmill.dataset.csv_reader import CsvReader
from promptmill.dataset.files import Files, InputFile, translated
from promptmill.dataset.jsonl import JsonlReader
from promptmill.dataset.sheet_reader import SheetReader
from promptmill.job.input_spec import Csv, Input


class TextSource:
    """The rows of CSV, JSONL and Excel files."""

    def __init__(self, files: Files, spec: Input) -> None:
        self._files = files
        types, skips = spec.types or {}, spec.on_bad_row == "skip"
        if files.format == "csv":
            self._reader = CsvReader(files, spec.csv or Csv.model_validate({}), types, skips)
        elif files.format == "excel":
            self._reader = SheetReader(files, types)
        else:
            self._reader = JsonlReader(files, types, skips)
        self.has_marks = self._reader.has_marks
        self.notes, self.rows = self._reader.notes, self._reader.rows
        self.schema = self._reader.schema

    def of_files(
        self, columns: list[str], start: int, tries: Collection[str] = ()
    ) -> Iterator[tuple[InputFile, pa.Table]]:
        """As FileSource has it; whole rows are read, so there is nothing left to try."""
        skip = start
        for file in self._files.files:
            with translated(self._files.urls, file):
                for batch in self._reader.blocks(file):
                    if skip >= batch.num_rows:
                        skip -= batch.num_rows
                        continue
                    yield file, pa.Table.from_batches([batch]).select(columns).slice(skip)
                    skip = 0
