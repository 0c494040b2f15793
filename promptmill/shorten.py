"""Shortens a text for a message, a report or a terminal."""


def shorten(text: str, most: int, *, tail: int = 0) -> str:
    """The text, cut to at most `most` characters where it is longer; an ellipsis marks the cut.

    With `tail`, the cut is in the middle and the last `tail` characters stay.
    """
    if len(text) <= most:
        return text
    return f"{text[: most - tail - 1]}…{text[len(text) - tail :]}"
