"""The JSON of an answer: the answer itself, or the JSON that a model wrapped in a fence, a thought, a call or prose. Pure.

What a model may put around its answer, and nothing else:
- a thought before it: `<think>…</think>`, also without the opening tag, which some chat templates swallow;
- one fence, which opens at the very beginning;
- prose after it, as long as no second answer stands there;
- the call of a tool whose arguments are the answer.

The answer has to begin where the thought and the opening fence end, so a fence inside an explanation is no answer. It is
read as JSON up to its own end, so a fence or a tag inside one of its texts stays as it is. An answer that is plain JSON
costs no more than its parsing.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import orjson

_TAGS = r"think|thinking|thought|thoughts|reasoning|reflection|scratchpad"
_THOUGHT_END = re.compile(
    rf"</(?:{_TAGS})>|\[/THINK\]|◁/think▷", re.IGNORECASE
)  # [/THINK]: Mistral's Magistral; ◁/think▷: Kimi
_MOST_ENDS = 20  # of thoughts, after which an answer is looked for
_FINAL = "<|channel|>final<|message|>"  # gpt-oss, where a server shows its channels (openai/harmony)
_BEGINNING = re.compile(r"[\s\ufeff]*+(?P<fence>(?P<mark>```+|~~~+)[ \t]*+[\w+-]*+\s*+)?(?=\{)")
_SCAN = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class _Span:
    """Where in a text an answer stands, in characters."""

    start: int
    stop: int


def read_answer(text: str, load: Callable[[str], Any] = orjson.loads) -> Any:
    """The value of an answer, unwrapped where it isn't plain JSON.

    Raises: whatever `load` raises for a text that neither is JSON nor holds an answer; orjson's JSONDecodeError at least.
    """
    try:
        value = load(text)
    except orjson.JSONDecodeError:
        span = find_answer(text)
        if span is None:
            raise
        value = load(text[span.start : span.stop])
    return value if type(value) is dict else _arguments(value, load)


def find_answer(text: str) -> _Span | None:
    """Where the JSON object of an answer stands that isn't plain JSON; None where there is none."""
    if (span := _after(text, 0)) is not None:
        return span
    if (final := text.rfind(_FINAL)) >= 0 and (span := _after(text, final + len(_FINAL))) is not None:
        return span
    for end in islice(_THOUGHT_END.finditer(text), _MOST_ENDS):  # a thought may quote its own tag
        if (span := _after(text, end.end())) is not None:
            return span
    return None


def _after(text: str, start: int) -> _Span | None:
    """The answer that begins at a place in the text; None when something else stands there."""
    beginning = _BEGINNING.match(text, start)
    if beginning is None:
        return None
    try:
        _, stop = _SCAN(text, beginning.end())
    except (ValueError, RecursionError):
        return None
    return _Span(beginning.end(), stop) if _is_prose(text[stop:], beginning["mark"]) else None


def _is_prose(rest: str, mark: str | None) -> bool:
    """Whether what follows an answer holds no second one, and no thought ends there; the answer's fence may be closed."""
    rest = rest.strip()
    closing = mark or "```"  # also where the prompt opened the fence
    rest = rest.removeprefix(closing)
    return not any(sign in rest for sign in ("{", "```", "~~~")) and _THOUGHT_END.search(rest) is None


def _arguments(value: object, load: Callable[[str], Any]) -> Any:
    """What a single call of a tool was given, as chat completions and responses write calls; any other value as it is."""
    calls = cast(list[object], value) if isinstance(value, list) else []
    call = cast(dict[str, object], calls[0]) if len(calls) == 1 and isinstance(calls[0], dict) else {}
    function = call.get("function") if call.get("type", "function") == "function" else call
    given = cast(dict[str, object], function).get("arguments") if isinstance(function, dict) else None
    if isinstance(given, str):
        try:
            given = load(given)
        except orjson.JSONDecodeError:
            return value
    return given if isinstance(given, dict) else value
