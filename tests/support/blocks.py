"""The blocks of code in a page, and the lines of a shell's block."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^( *)```(\S*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_NAMED = re.compile(r"# (\S+\.(?:yaml|toml))\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    place: str  # page and line, for messages
    kind: str  # the word after the fence
    file: str | None  # what the reader is to write it to, by its title or a first line such as `# job.yaml`
    text: str


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in their order."""
    whole = page.read_text()
    found: list[Block] = []
    for one in _FENCE.finditer(whole):
        indent, kind, rest, text = one.groups()
        text = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
        named = _TITLE.search(rest) or _NAMED.match(text)
        place = f"{page.name}:{whole.count(chr(10), 0, one.start()) + 1}"
        found.append(Block(place, kind, named.group(1) if named else None, text))
    return found


def fences_of(page: Path) -> int:
    """How many blocks a page has, counted in another way: no block may be overlooked."""
    return len(re.findall(r"^ *```", page.read_text(), flags=re.MULTILINE)) // 2


def commands_of(text: str) -> list[str]:
    """The commands of a shell's block; one goes on after a backslash, and until its quotes are closed."""
    found: list[str] = []
    held = ""
    for line in text.splitlines():
        held = f"{held}\n{line}" if held else line
        if held.endswith("\\"):
            held = held[:-1]
            continue
        try:
            words = shlex.split(held, comments=True)
        except ValueError:  # a quote is open
            continue
        if words:
            found.append(held)
        held = ""
    assert not held, f"a quote is never closed: {held}"
    return found
