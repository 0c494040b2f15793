"""Texts as a terminal may get them: no character in them moves its cursor, sets its title or turns its text around. Pure.

Rows and answers come from others. A terminal obeys ESC and what follows it (ECMA-48: CSI, OSC), the C1 controls, which are
the same in one character, and the marks of the Unicode bidirectional algorithm (UAX #9), which show `exe.txt` for `txt.exe`.
"""

import re

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions
    "\u2028\u2029\ufeff\ud800-\udfff]"  # separators of lines that few tools know, and what can't be encoded
)


def printable(text: str) -> str:
    r"""The text with such characters written as Python writes them: ESC is `\x1b`. Tabs and line feeds stay."""
    return _STEERING.sub(_spelled, text)


def printable_json(text: str) -> str:
    r"""The same for JSON: such characters stand in its strings only, where `\u009b` means the same to who parses it."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _spelled(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
