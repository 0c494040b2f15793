"""A row's prompt as people read it: message by message, with the pieces that come from the row's columns told apart.

Each template is rendered once more, by an environment that puts a mark around every value it prints. Where a template
works on printed text (a filter block, a length), the marks would change it: then the text has no marks, and is one piece.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from promptmill.job.spec import RequestSpec
from promptmill.prompts.sandbox import ENVIRONMENT, join_pieces, print_value
from promptmill.prompts.templates import RENDER_ERRORS, RowTemplate, row_values

_OPEN, _CLOSE = "\ue000", "\ue001"  # of a private use area: no text of people has them
_MARKS = re.compile(f"([{_OPEN}{_CLOSE}])")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text."""

    text: str
    is_from_row: bool  # else it is the same for every row


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """One message of a prompt; an embeddings request has one, whose role is `input`."""

    role: str
    pieces: tuple[Piece, ...]


def shown_messages(spec: RequestSpec, columns: Sequence[str], row: Mapping[str, object]) -> list[ShownMessage]:
    """The messages of a row's request. Raises: RowUnrenderable."""
    return [
        ShownMessage(role, tuple(_pieces(content, columns, row)))
        for role, content in _sources(spec)
        if content is not None
    ]


def _sources(spec: RequestSpec) -> list[tuple[str, object]]:
    """Role and source of each message."""
    if spec.endpoint == "embeddings":
        return [("input", spec.input)]
    if spec.messages is None:
        return [("system", spec.system), ("user", spec.user)]
    return [(message.role, message.content) for message in spec.messages]


def _pieces(content: object, columns: Sequence[str], row: Mapping[str, object]) -> Iterator[Piece]:
    if isinstance(content, str):
        yield from _rendered(content, columns, row)
        return
    for number, part in enumerate(cast(Sequence[Mapping[str, object]], content)):
        yield Piece("\n" if number else "", is_from_row=False)
        yield from _of_part(part, columns, row)


def _of_part(part: Mapping[str, object], columns: Sequence[str], row: Mapping[str, object]) -> Iterator[Piece]:
    """A part of a message: its text; of an image, a file or a sound, its kind and its fields."""
    if isinstance(part.get("text"), str):
        yield from _rendered(cast(str, part["text"]), columns, row)
        return
    yield Piece(f"[{part.get('type', 'part')}:", is_from_row=False)
    for text in _texts({key: value for key, value in part.items() if key != "type"}):
        yield Piece(" ", is_from_row=False)
        yield from _rendered(text, columns, row)
    yield Piece("]", is_from_row=False)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in cast(Mapping[str, object], value).values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in cast(Sequence[object], value):
            yield from _texts(inner)


def _rendered(source: str, columns: Sequence[str], row: Mapping[str, object]) -> Iterator[Piece]:
    template = RowTemplate("the prompt", source, columns)
    values = row_values(row, [name for name in columns if name in template.columns], needs_row=template.needs_row)
    text = template.render(values)
    pieces = _split(_marked(source, values))
    yield from pieces if "".join(piece.text for piece in pieces) == text else [Piece(text, not template.is_static)]


def _marked(source: str, values: dict[str, object]) -> str:
    """The text with marks around what is printed; without any where the template can't be rendered with them."""
    template = _MARKING.from_string(source)
    try:
        return join_pieces(template.root_render_func(template.new_context(values, shared=True)))
    except RENDER_ERRORS:
        return ""


def _mark(value: object) -> str:
    return f"{_OPEN}{print_value(value)}{_CLOSE}"


_MARKING: Any = ENVIRONMENT.overlay(finalize=_mark)


def _split(text: str) -> list[Piece]:
    """The pieces of a marked text. What a macro prints is marked more than once."""
    pieces: list[Piece] = []
    depth = 0
    for part in _MARKS.split(text):
        if part in (_OPEN, _CLOSE):
            depth += 1 if part == _OPEN else -1
        elif part:
            pieces.append(Piece(part, depth > 0))
    return pieces
