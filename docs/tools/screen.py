"""What a terminal shows of what a program has written so far, as far as our own display needs it."""

import re

_CONTROL = re.compile(r"\x1b\[(\??\d*)([A-Za-z])|\r|\n")


def shown(written: str) -> list[str]:
    """The lines on the screen, with their colours; a line is always cleared before it is written again."""
    lines, row, at = [""], 0, 0
    for found in _CONTROL.finditer(written):
        lines[row] += written[at : found.start()]
        at = found.end()
        match found.group(2), found.group():
            case "m", colour:
                lines[row] += colour
            case "K", _:
                lines[row] = ""
            case "A", _:
                row = max(0, row - int(found.group(1)))
            case _, "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            case _:
                pass  # a carriage return, or the cursor shown or hidden
    lines[row] += written[at:]
    return lines
