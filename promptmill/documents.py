"""Job files, schema files and values on the command line: YAML and JSON that a person writes, read within bounds.

A few lines of YAML can stand for more values than a machine has memory: each list holds the one before twice, by aliases
("billion laughs"). So its events are counted before anything is built, an alias as all that it stands for.
libyaml reads a large file 20 times as fast as PyYAML's own parser, and `pip install pyyaml` brings it nearly everywhere.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import fsspec
import yaml

from promptmill.bounded_json import is_deeper_than, load_json

_MAX_BYTES = 8 << 20  # of a file: a template alone may have 4 MiB
_MAX_NODES = 100_000  # values and keys, each alias as all that it stands for; they take about a second to read
MAX_DOCUMENT_DEPTH = 100  # levels, also those behind aliases
_MAX_MERGES = 1_000  # keys `<<`: each takes time for all keys of its mapping
_MAX_DIGITS = 100  # of an integer as written; it must fit 64 bits
_INTEGER_END = 1 << 64
# what PyYAML's expressions for numbers read to its end, with 80 bytes of memory for each digit
_LONG_NUMBER = re.compile(r"[-+.0-9][-+.0-9a-fA-FxX_:]{1000}")


class DocumentTooLarge(yaml.YAMLError):
    """A document that is beyond a bound. The message quotes nothing of it."""


if TYPE_CHECKING:
    _SafeLoader = yaml.SafeLoader
else:
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """The safe loader, with integers of 64 bits: larger ones can be given equal hashes, and take long to print."""

    def construct_small_int(self, node: yaml.ScalarNode) -> int:
        value = self.construct_yaml_int(node) if len(node.value) <= _MAX_DIGITS else _INTEGER_END
        if abs(value) >= _INTEGER_END:
            raise DocumentTooLarge("it holds an integer of more than 64 bits; put it in quotes if it is a text")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_small_int)


def read_document(filesystem: fsspec.AbstractFileSystem, path: str) -> bytes:
    """The bytes of a file. Raises: DocumentTooLarge; any of STORAGE_ERRORS."""
    with filesystem.open(path, "rb") as opened:
        data = cast(bytes, opened.read(_MAX_BYTES + 1))
    if len(data) > _MAX_BYTES:
        raise DocumentTooLarge(f"it is larger than {_MAX_BYTES:,} bytes, which is the limit")
    return data


def load_yaml(text: str) -> object:
    """The value of a YAML document. Raises: yaml.YAMLError when it isn't YAML, or is beyond a bound."""
    if len(text) > _MAX_BYTES:
        raise DocumentTooLarge(f"it has {len(text):,} characters; the limit is {_MAX_BYTES:,}")
    try:
        _refuse_large(text)
        return cast(object, _Loader(text).get_single_data())
    except (ValueError, OverflowError, RecursionError) as error:  # a date such as 2026-13-01, for one
        raise yaml.YAMLError(str(error)) from error


def load_json_document(data: bytes | str) -> object:
    """The value of a JSON document. Raises: ValueError when it isn't JSON, or is beyond a bound."""
    if len(data) > _MAX_BYTES:
        raise ValueError(f"it has {len(data):,} bytes; the limit is {_MAX_BYTES:,}")
    value: object = load_json(data, _MAX_NODES)
    if is_deeper_than(value, MAX_DOCUMENT_DEPTH):
        raise ValueError(f"it is nested deeper than {MAX_DOCUMENT_DEPTH} levels, which is the limit")
    return value


def _refuse_large(text: str) -> None:
    """Raises: DocumentTooLarge when the document is beyond a bound; yaml.YAMLError when it isn't YAML."""
    count = _Count()
    for event in yaml.parse(text, _Loader):
        count.add(event)


@dataclass(slots=True)
class _Collection:
    """A list or mapping whose end hasn't come yet, or the document itself."""

    anchor: str | None
    nodes_before: int
    levels: int = 1  # its own and those inside it


class _Count:
    """Counts the nodes of a document as its events come."""

    def __init__(self) -> None:
        self._nodes = 0
        self._merges = 0
        self._open = [_Collection(None, 0)]
        self._known: dict[str, tuple[int, int]] = {}  # anchor → nodes and levels that it stands for

    def add(self, event: Any) -> None:
        """Count an event. Raises: DocumentTooLarge."""
        if isinstance(event, yaml.AliasEvent):
            name = cast(str, event.anchor)
            if any(outer.anchor == name for outer in self._open):
                raise DocumentTooLarge("it has an alias that stands inside what it names, so it would never end")
            self._count(*self._known.get(name, (1, 0)))
        elif isinstance(event, yaml.ScalarEvent):
            self._merges += event.value == "<<"
            if event.implicit[0] and _LONG_NUMBER.match(event.value):
                raise DocumentTooLarge("it holds a number of more than 1,000 digits; put it in quotes if it is a text")
            self._count(1, 0)
            self._remember(event.anchor, 1, 0)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._count(1, 1)
            self._open.append(_Collection(event.anchor, self._nodes - 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            self._open[-1].levels = max(self._open[-1].levels, ended.levels + 1)
            self._remember(ended.anchor, self._nodes - ended.nodes_before, ended.levels)

    def _remember(self, anchor: str | None, nodes: int, levels: int) -> None:
        if anchor is not None:
            self._known[anchor] = (nodes, levels)

    def _count(self, nodes: int, levels: int) -> None:
        """Count a node inside the innermost open collection. Raises: DocumentTooLarge."""
        self._nodes += nodes
        self._open[-1].levels = max(self._open[-1].levels, levels + 1)
        if self._nodes > _MAX_NODES:
            raise DocumentTooLarge(f"it holds more than {_MAX_NODES:,} values, counting what aliases stand for")
        if len(self._open) - 1 + levels > MAX_DOCUMENT_DEPTH:
            raise DocumentTooLarge(f"it is nested deeper than {MAX_DOCUMENT_DEPTH} levels, which is the limit")
        if self._merges > _MAX_MERGES:
            raise DocumentTooLarge(f"it has more than {_MAX_MERGES:,} keys <<, which is the limit")
