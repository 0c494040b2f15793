"""Small datasets for tests."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_rows(path: Path, texts: list[str | None], first_id: int = 0) -> Path:
    """A Parquet file of ids and texts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [f"r{number}" for number in range(first_id, first_id + len(texts))]
    pq.write_table(pa.table({"id": ids, "text": pa.array(texts, pa.string())}), path)
    return path
