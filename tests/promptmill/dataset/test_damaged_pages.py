"""A damaged page is found before the first paid request, also in a column that no template reads."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptmill.dataset.repeated_texts import RepeatedTexts, stays_coded
from promptmill.errors import DatasetError
from promptmill.provider.transport import Credentials
from tests.support.jobs import MakeJob, plan

ROWS = 40


def write_damaged(path: Path, column: str, group: int, **options: Any) -> None:
    """A file of two row groups with a column that is damaged in one of them."""
    numbers = range(ROWS)
    columns = {
        "text": [f"text {number}" for number in numbers],
        "note": [f"note {number}" * 20 for number in numbers],
        "rating": [number + 0.5 for number in numbers],
        "inner": [{"list": [number, number], "name": f"name {number}"} for number in numbers],
    }
    pq.write_table(pa.table(columns), path, row_group_size=ROWS // 2, **options)
    found = pq.read_metadata(path).row_group(group)
    leaves = [found.column(at) for at in range(found.num_columns)]
    content = bytearray(path.read_bytes())
    for leaf in leaves:
        if leaf.path_in_schema.split(".")[0] == column:
            start = leaf.data_page_offset
            content[start + leaf.total_compressed_size // 2 : start + leaf.total_compressed_size] = b"\xff" * (
                leaf.total_compressed_size - leaf.total_compressed_size // 2
            )
    path.write_bytes(content)


@pytest.mark.parametrize("compression", ["snappy", "zstd"])
@pytest.mark.parametrize("column", ["text", "note", "inner"])
@pytest.mark.parametrize("group", [0, 1])
def test_damaged_page_is_found_by_the_plan(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path, compression: str, column: str, group: int
) -> None:
    path = tmp_path / "damaged.parquet"
    write_damaged(path, column, group, compression=compression, use_dictionary=False)

    with pytest.raises(DatasetError, match=r"damaged\.parquet (isn't Parquet that )?can('t)? be read"):
        plan(make_job(1, input__url=str(path)), credentials)


def test_checksum_is_compared_where_a_page_has_one(make_job: MakeJob, credentials: Credentials, tmp_path: Path) -> None:
    """Without compression and checksum, other bytes are other values."""
    path = tmp_path / "damaged.parquet"
    write_damaged(path, "rating", 1, compression="none", use_dictionary=False, write_page_checksum=True)

    with pytest.raises(DatasetError, match=r"damaged\.parquet (isn't Parquet that )?can('t)? be read"):
        plan(make_job(1, input__url=str(path)), credentials)


@pytest.mark.parametrize("group", [0, 1])
@pytest.mark.parametrize(("compression", "number"), [("snappy", None), ("none", None), ("none", 3)])
def test_damaged_page_of_texts_in_a_dictionary_is_found_by_the_plan(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path, compression: str, number: int | None, group: int
) -> None:
    """Such a page has numbers of two bits; number 3 is none of the three texts."""
    path = tmp_path / "damaged.parquet"
    rows = {"text": [f"text {at}" for at in range(2 * ROWS)], "note": [str(at % 3) * 20_000 for at in range(2 * ROWS)]}
    pq.write_table(pa.table(rows), path, row_group_size=ROWS, compression=compression)
    leaf = pq.read_metadata(path).row_group(group).column(1)
    content = bytearray(path.read_bytes())
    end = (leaf.dictionary_page_offset or 0) + leaf.total_compressed_size
    if number is None:
        content[leaf.data_page_offset : end] = b"\xff" * (end - leaf.data_page_offset)
    else:
        content[end - 8 : end] = bytes([number * 0b01010101]) * 8
    path.write_bytes(content)

    with pytest.raises(DatasetError, match=r"damaged\.parquet (isn't Parquet that )?can('t)? be read"):
        plan(make_job(1, input__url=str(path)), credentials)


def test_repeated_texts_are_decoded_without_being_made(tmp_path: Path) -> None:
    """The look at how long a text may be would read the dictionary once more."""
    path = tmp_path / "repeated.parquet"
    notes = [None if at % 5 == 0 else str(at % 3) * 20_000 for at in range(4_000)]
    pq.write_table(pa.table({"text": [f"text {at}" for at in range(4_000)], "note": notes}), path)
    file = pq.ParquetFile(path)
    texts = RepeatedTexts(str(path), lambda: path.open("rb"))

    assert stays_coded(file, 0, 1)
    assert texts.can_decode(file, 0, [1])
    assert texts.row_bytes == {}


def test_long_texts_outside_of_a_full_dictionary_are_decoded_a_few_rows_at_once(tmp_path: Path) -> None:
    """As numbers in a dictionary 1,000 rows are read at once, and the texts behind a full dictionary are all held."""
    path = tmp_path / "long.parquet"
    documents = [f"{at}{'x' * 1_000_000}" for at in range(20)]
    pq.write_table(pa.table({"document": documents}), path, write_batch_size=4)
    file = pq.ParquetFile(path)

    assert not stays_coded(file, 0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"input__columns": ["text", "rating", "inner"]}, id="a-column-that-is-left-out"),
        pytest.param({"input__limit": ROWS // 2}, id="behind-the-limit"),
    ],
)
def test_damage_in_what_the_run_never_reads_costs_nothing(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / "damaged.parquet"
    write_damaged(path, "note", 1, compression="snappy", use_dictionary=False)

    planned = plan(make_job(1, input__url=str(path), **changes), credentials)

    assert planned.preflight.plan.rows == changes.get("input__limit", ROWS)
