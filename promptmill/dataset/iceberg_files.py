"""An Iceberg table's metadata, read as all our inputs are: with the same credentials, and only from where a job may read.

Importing this module needs pyiceberg.
"""

from typing import Any, cast

from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import StaticTable

from promptmill.storage import open_filesystem


def load_table(location: str) -> StaticTable:
    """The table as a metadata file tells it. Raises: JobError when the job may not read it; any of STORAGE_ERRORS."""
    files = _Files()
    metadata = FromInputFile.table_metadata(files.new_input(location))
    return StaticTable(("table", location), metadata, location, files, NoopCatalog("none"))


class _File(InputFile):
    def __init__(self, location: str) -> None:
        super().__init__(location)
        self._fs, self._path = open_filesystem(location, "input.url")

    def __len__(self) -> int:
        return int(cast(Any, self._fs.info(self._path))["size"])

    def exists(self) -> bool:
        return bool(self._fs.exists(self._path))

    def open(self, seekable: bool = True) -> InputStream:
        return cast(Any, self._fs.open(self._path, "rb"))


class _Files(FileIO):
    def new_input(self, location: str) -> InputFile:
        return _File(location)

    def new_output(self, location: str) -> OutputFile:
        raise NotImplementedError("an input is never written to")

    def delete(self, location: str | InputFile | OutputFile) -> None:
        raise NotImplementedError("an input is never written to")
