"""What we show on a terminal: whatever it quotes, no row and no provider steers it."""

import re
from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from promptmill.printable import printable


class Terminal(Console):
    """A console that spells out what would steer it, in every text and cell; its own colours stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What rich draws, piece by piece."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def wrap_words(text: Text, width: int) -> Text:
    """The text with line ends between words, so that no line is wider than `width` cells.

    A word that is wider stays whole: an address must be copied in one piece. rich would cut it.
    """
    lines = [
        piece for line in text.split("\n", allow_blank=True) for piece in line.divide(_line_starts(line.plain, width))
    ]
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def _line_starts(line: str, width: int) -> Iterator[int]:
    """Places in a line at which another line begins."""
    used = 0
    for word in re.finditer(r"\s*\S+\s*|\s+", line):
        if used and used + cell_len(word.group().rstrip()) > width:
            yield word.start()
            used = 0
        used += cell_len(word.group())
