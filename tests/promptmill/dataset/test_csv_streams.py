"""The bytes of a CSV file on their way to Arrow, whatever the sizes of the pieces in which it reads them."""

import io
from typing import IO, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.dataset.csv_dialect import Dialect
from promptmill.dataset.csv_streams import Watch, followed_by, utf8_stream
from promptmill.errors import DatasetError


def dialect(**changes: Any) -> Dialect:
    """Commas and double quotes, unless told otherwise."""
    usual = {"delimiter": ",", "quote": '"', "escape": "", "encoding": "utf-8", "header": True, "comment": ""}
    return Dialect(**{**usual, **changes})


def pieces_of(stream: IO[bytes], size: int) -> bytes:
    """A stream's bytes, read in pieces of a size."""
    return b"".join(iter(lambda: cast(Any, stream).read(size), b""))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufeff")), st.integers(1, 40))
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-8"])
def test_every_encoding_arrives_as_utf8(encoding: str, text: str, size: int) -> None:
    stream = utf8_stream(io.BytesIO(text.encode(encoding)), dialect(encoding=encoding), "a.csv")

    assert pieces_of(stream, size) == text.encode()


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_name() -> None:
    stream = utf8_stream(io.BytesIO("\ufeffid,text\n".encode("utf-16-le")), dialect(encoding="utf-16-le"), "a.csv")

    assert pieces_of(stream, 3) == b"id,text\n"


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        pytest.param("cp1252", b"caf\x81", id="a-byte-that-is-no-letter"),
        pytest.param("utf-16-le", "ab".encode("utf-16-le")[:-1], id="half-a-letter-at-the-end"),
    ],
)
def test_bytes_of_another_encoding_are_an_error_that_names_the_key(encoding: str, data: bytes) -> None:
    stream = utf8_stream(io.BytesIO(data), dialect(encoding=encoding), "a.csv")

    with pytest.raises(DatasetError, match=rf"a.csv isn't {encoding}.*input.csv.encoding"):
        pieces_of(stream, 100)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("changes", "data", "expected"),
    [
        pytest.param({"comment": "#"}, b"# by hand\na,b\n#x\n1,2\n", b"a,b\n1,2\n", id="comments"),
        pytest.param({"comment": "#"}, b'a\n"one\n#two"\n#x\n', b'a\n"one\n#two"\n', id="a-sign-inside-quotes"),
        pytest.param({"comment": "#", "quote": ""}, b'a\n"\n#x\n', b'a\n"\n', id="no-quotes"),
        pytest.param({"escape": "\\"}, b"\\N,1,\\N\n\\Nx,\\N\r\n", b",1,\n\\Nx,\r\n", id="mysqls-null"),
        pytest.param({"escape": "\\"}, b"1,2\n", b"1,2\n", id="without-a-null"),
        pytest.param({"comment": "#", "escape": "\\"}, b"#\\N\n1,\\N", b"1,", id="both"),
        pytest.param({"comment": "#"}, b"#x\n", b"", id="comments-alone"),
    ],
)
def test_lines_are_left_out_and_nulls_emptied(changes: dict[str, str], data: bytes, expected: bytes, size: int) -> None:
    assert pieces_of(utf8_stream(io.BytesIO(data), dialect(**changes), "a.csv"), size) == expected


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_many_lines_come_in_pieces_and_all_of_them(size: int) -> None:
    """More than one piece's worth, each line changed."""
    lines = 300_000 if size > 1 else 3_000
    stream = utf8_stream(io.BytesIO(b"\\N,1\n" * lines), dialect(escape="\\"), "a.csv")

    assert pieces_of(stream, size) == b",1\n" * lines


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"a\n1\n", b"a\n1\nlast\n", id="after-a-line"),
        pytest.param(b"a\r1\r", b"a\r1\rlast\n", id="after-an-old-macs-line"),
        pytest.param(b"a\n1", b"a\n1\nlast\n", id="after-a-line-without-an-end"),
        pytest.param(b"", b"last\n", id="after-nothing"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_a_row_is_put_behind_the_bytes_on_a_line_of_its_own(data: bytes, expected: bytes, size: int) -> None:
    assert pieces_of(followed_by(io.BytesIO(data), b"last\n"), size) == expected


@pytest.mark.parametrize("before", [0, 1, (1 << 20) - 8, (1 << 20) - 1])  # the pieces of a file are of 1 MiB
@pytest.mark.parametrize(
    ("data", "has_escapes", "has_inner_quotes"),
    [
        pytest.param(b'1,"two"\n', False, False, id="quotes-around-a-field"),
        pytest.param(b'1,"tw""o"\n', False, False, id="a-doubled-quote"),
        pytest.param(b'1,"tw\\"o"\n', True, True, id="a-backslash-before-a-quote"),
        pytest.param(b'1,tw"o\n', False, True, id="a-quote-inside-a-field"),
        pytest.param(b'1,"tw"""o"\n', False, True, id="a-quote-inside-beside-a-doubled-one"),
        pytest.param(b"1,two\n", False, False, id="no-quotes"),
    ],
)
def test_unusual_quotes_are_noticed_wherever_a_piece_ends(
    before: int, data: bytes, has_escapes: bool, has_inner_quotes: bool
) -> None:
    given_bytes = b"x" * before + b"\n" + data
    watch = Watch()

    assert pieces_of(utf8_stream(io.BytesIO(given_bytes), dialect(), "a.csv", watch), 1 << 16) == given_bytes
    assert (watch.has_escapes, watch.has_inner_quotes) == (has_escapes, has_inner_quotes)


@pytest.mark.parametrize("changes", [{"escape": "\\"}, {"quote": ""}])
def test_quotes_are_not_looked_at_where_the_job_says_how_they_are_written(changes: dict[str, str]) -> None:
    watch = Watch()
    pieces_of(utf8_stream(io.BytesIO(b'a\n1\\"2\n'), dialect(**changes), "a.csv", watch), 100)

    assert not watch.has_escapes
    assert not watch.has_inner_quotes
