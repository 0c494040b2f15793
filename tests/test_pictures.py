"""The pictures of the documentation: small, whole in themselves, and what a terminal shows."""

import re

import pytest

from docs.tools.screen import shown
from tests.support.paths import ROOT

PICTURES = sorted((ROOT / "docs/pictures").iterdir())


def test_no_picture_is_large_or_fetches_anything():
    assert {path.suffix for path in PICTURES} == {".png", ".svg"}
    for path in PICTURES:
        assert path.stat().st_size < 200_000, path.name
        drawn = path.read_text() if path.suffix == ".svg" else ""
        assert not re.search(r"url\([\"']?http|@import|<image|href=[\"']http", drawn), path.name


@pytest.mark.parametrize(
    ("written", "screen"),
    [
        pytest.param("one\r\ntwo", ["one", "two"], id="lines"),
        pytest.param("10 %\r\x1b[2K20 %", ["20 %"], id="a-line-again"),
        pytest.param("a\r\nb\r\x1b[2K\x1b[1A\x1b[2Kc\r\nd", ["c", "d"], id="a-frame-again"),
        pytest.param("\x1b[?25l\x1b[32mgreen\x1b[0m\x1b[?25h", ["\x1b[32mgreen\x1b[0m"], id="colours-stay"),
    ],
)
def test_a_screen_shows_what_a_terminal_shows(written: str, screen: list[str]):
    assert shown(written) == screen
