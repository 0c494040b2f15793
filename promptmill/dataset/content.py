"""What a file holds by its first bytes, where its name says otherwise: text is read as text, and anything else is named."""

from promptmill.errors import DatasetError

_PACKED: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b\x08", "gzip", ".gz"),
    (b"\x28\xb5\x2f\xfd", "zstandard", ".zst"),
    (b"\xfd7zXZ\x00", "xz", ".xz"),
    (b"\x04\x22\x4d\x18", "lz4", ".lz4"),
    *((b"BZh%d1AY&SY" % level, "bzip2", ".bz2") for level in range(1, 10)),
)
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    *(
        (mark, kind, f"Decompress it, or let its name end with {suffix} if that is text")
        for mark, kind, suffix in _PACKED
    ),
    (b"PAR1\x15", "Parquet", "Set input.format to parquet"),
    (b"PK\x03\x04", "a zip", "If it is a workbook, let its name end with .xlsx or .ods; else unpack it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook of an old Excel", "Save it as .xlsx"),
    (b"SQLite format 3\x00", "a SQLite database", "Write its rows to CSV or Parquet"),
)
START_BYTES = 16  # that tell them apart


def refuse_other_content(start: bytes, shown: str, expected: str) -> None:
    """Raises: DatasetError when a file that should be something else begins as one of the kinds that people mistake for it."""
    for mark, kind, advice in _KINDS:
        if kind != expected and start.startswith(mark):
            raise DatasetError(f"{shown} holds {kind}, and its name stands for {expected} (input.url). {advice}.")
