"""A `pattern` of a JSON Schema, matched in time that grows with the text and no faster.

Python's `re` may take longer than the age of the universe for 40 characters, and holds the event loop while it does.
RE2 takes time in proportion to the text times the pattern. It comes with pyarrow, so there is no other package of C++
code to install and to keep safe. pyarrow compiles a pattern again for each match, about 0.1 ms for the usual ones; a
request takes seconds.
Meaning: JSON Schema 2020-12, 6.3.3: ECMA-262's syntax, found anywhere in the text unless it is anchored. RE2 has no
look-around and no back-references (https://github.com/google/re2/wiki/Syntax, read 2026-11-26).
A look-ahead at an anchored beginning, as in `^(?!-)[a-z-]+$`, says only that one more pattern is found there, or isn't: it
is matched as a pattern of its own. Pydantic's Decimal had one (2.11 and 2.12), and rules for passwords have several.
"""

import re

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.errors import JobError
from promptmill.shorten import shorten

_MAX_CHARACTERS = 1_000
_MAX_WEIGHT = 50_000  # of a compiled pattern: RE2 takes about 0.1 s to compile one of that weight
_MAX_COUNT = 1_000  # RE2's own limit for {n}, nested ones multiplied
_CATEGORY_WEIGHT = 1_000  # of \p{L}: as many ranges of UTF-8
_CLASS_WEIGHT = 10  # of . and [a-z]
_STEPS = 10  # of the budget of an answer's check (answer_check.py) for a match: the call into pyarrow
_WEIGHT_A_STEP = 5  # compiled in one such step
_WORK_A_STEP = 256  # characters times weight
_CODE_POINT = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|([\s\S]))")
_PART = re.compile(
    r"\\[\s\S]|\[\^?\]?(?:\\[\s\S]|[^\]\\])*\]|[()|]"
)  # what may open, close or separate, or only look so
_AHEAD = ("(?=", "(?!")
_TOKEN = re.compile(
    r"(?P<category>\\[pP](?:\{[^}]*\}|.))|(?P<escape>\\x\{[^}]*\}|\\[\s\S])|(?P<set>\[\^?\]?(?:\\[\s\S]|\[:\w+:\]|[^\]\\])*\])"
    r"|(?P<open>\((?:\?[^:)]*[:>])?)|(?P<close>\))|\{(?P<least>\d{1,9})(?P<range>,(?P<most>\d{0,9}))?\}|(?P<other>[\s\S])"
)


class Pattern:
    """A pattern that is known to compile."""

    def __init__(self, source: str, place: str) -> None:
        """Raises: JobError, naming the place in the schema, when it is too large or RE2 doesn't know it."""
        self.source = source
        if len(source) > _MAX_CHARACTERS:
            raise _refused(source, place, f"has {len(source):,} characters; the limit is {_MAX_CHARACTERS:,}")
        self.looks_ahead, self._sought = False, [(True, source)]
        if (split := _without_look_ahead(source)) is not None:
            self.looks_ahead, self._sought = True, split
        self._sought = [(is_due, _CODE_POINT.sub(_code_point, part)) for is_due, part in self._sought]
        self.weight = sum(_weigh(part) for _, part in self._sought)
        if self.weight > _MAX_WEIGHT:
            raise _refused(source, place, f"has a weight of {self.weight:,}; the limit is {_MAX_WEIGHT:,}")
        try:
            for _, part in self._sought:
                _is_found(part, "")
        except pa.ArrowInvalid as error:
            raise _refused(source, place, f"can't be used ({shorten(str(error), 200)})") from error

    def steps(self, text: str) -> int:
        """What a match with this text takes, in steps of the check of an answer."""
        return _STEPS + self.weight // _WEIGHT_A_STEP + len(text) * self.weight // _WORK_A_STEP

    def matches(self, text: str) -> bool:
        """Whether the pattern is found anywhere in the text."""
        return all(_is_found(part, text) is is_due for is_due, part in self._sought)


def _is_found(pattern: str, text: str) -> bool:
    return bool(pc.match_substring_regex(pa.scalar(text, pa.string()), pattern).as_py())


def _without_look_ahead(source: str) -> list[tuple[bool, str]] | None:
    """The patterns that are found, and those that aren't, where a pattern that begins with look-aheads is found.

    None where it begins with none, or not at an anchor, or has alternatives, to which the look-aheads wouldn't apply.
    """
    place, sought = 1, list[tuple[bool, str]]()
    while source.startswith("^") and source.startswith(_AHEAD, place):
        end = _closing(source, place)
        if end is None or source[end + 1 : end + 2] in {"?", "*", "+", "{"}:
            return None
        sought.append((source[place + 2] == "=", f"^(?:{source[place + 3 : end]})"))
        place = end + 1
    rest = f"({source[place:]})"
    if not sought or _closing(rest, 0) != len(rest) - 1 or _has_alternatives(rest):
        return None
    return [*sought, (True, f"^{source[place:]}")]


def _closing(source: str, opening: int) -> int | None:
    """Where the group ends that begins at a place; None where it doesn't end."""
    depth = 0
    for part in _PART.finditer(source, opening):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if depth == 0:
            return part.start()
    return None


def _has_alternatives(group: str) -> bool:
    """Whether a group offers alternatives itself, not only inside an inner group."""
    depth = 0
    for part in _PART.finditer(group):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if part[0] == "|" and depth == 1:
            return True
    return False


def _code_point(escape: re.Match[str]) -> str:
    r"""RE2's spelling of an escape: `\u00e9` is `\x{00e9}`."""
    braced, plain, _ = escape.groups()
    return escape[0] if braced is None and plain is None else f"\\x{{{braced or plain}}}"


def _weigh(source: str) -> int:
    """About how many instructions RE2 compiles a pattern to; a repetition counts as often as it may repeat."""
    groups, last = [0], 0  # what each open group weighs so far; the weight of what a `{n}` would repeat
    for token in _TOKEN.finditer(source):
        kind = token.lastgroup
        if kind == "open":
            groups.append(0)
            last = 0
            continue
        if kind == "close":
            inner = groups.pop() if len(groups) > 1 else 0
            last = inner + 2
        elif token["least"] is not None:
            times = min(max(int(token["most"] or token["least"]), 1), _MAX_COUNT)
            groups[-1] -= last
            last *= times
        else:
            last = _weight_of(token)
        groups[-1] += last
    return sum(groups)


def _weight_of(token: re.Match[str]) -> int:
    if token["category"] is not None:
        return _CATEGORY_WEIGHT
    if token["set"] is not None:
        inside = len(re.findall(r"\\[pP]", token["set"]))
        return _CLASS_WEIGHT + len(token["set"]) + inside * _CATEGORY_WEIGHT
    return _CLASS_WEIGHT if token[0] == "." or token["escape"] is not None else len(token[0].encode())


def _refused(source: str, place: str, fault: str) -> JobError:
    return JobError(
        f"the response schema's pattern {shorten(source, 80)!r} at {place} {fault}; RE2 matches patterns, in time that "
        "grows with the text only, and knows no look-around but a look-ahead right after ^, no back-reference and no count "
        f"above {_MAX_COUNT:,} "
        "(request.response_schema). Write it without them and with smaller counts, or put the rule into the prompt."
    )
