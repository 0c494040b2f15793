"""What a provider says is wrong, whatever the shape of its words: OpenAI's, a gateway's, a page of HTML. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from promptmill.provider.body_parser import NoJson, parse_body
from promptmill.provider.filter_results import categories_of_error
from promptmill.provider.json_fields import list_of, mapping_of, name_of
from promptmill.provider.redaction import redact
from promptmill.shorten import shorten

_MESSAGE_CHARACTERS = 500
_PAGE = re.compile(r"^\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^>]*>\s*([^<]+?)\s*<", re.IGNORECASE)
_FENCE = re.compile(r"\s*```(?:json)?\s(.*?)\s*```\s*$", re.DOTALL)
_VAGUE = frozenset({"provider returned error", "error", "no message", "bad request", ""})


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What the provider says is wrong."""

    message: str
    code: str = ""
    type: str = ""
    param: str = ""  # the part of the request that it names
    generated: str = ""  # what the model answered, where the provider keeps it back for its format (Groq)


def read_error(content: bytes, secrets: Sequence[str]) -> ErrorBody:
    """The error in a body; the secrets are cut out."""
    try:
        return read_error_payload(parse_body(content), secrets)
    except NoJson:
        return ErrorBody(_clip(redact(_page_words(content), secrets)) or "no message")


def read_error_payload(payload: object, secrets: Sequence[str]) -> ErrorBody:
    """The error in a parsed body; the secrets are cut out."""
    if isinstance(payload, list) and payload:
        return read_error_payload(payload[0], secrets)  # pyright: ignore[reportUnknownArgumentType] - Gemini sends a list
    outer = mapping_of(payload)
    error = outer.get("error") or _base_resp(outer) or (list_of(outer.get("errors")) or [payload])[0]
    if not isinstance(error, dict):
        return ErrorBody(
            message=_clip(redact(_words_of(_message_of(outer, error)), secrets)),
            code=redact(name_of(outer.get("code")), secrets),
        )
    fields = mapping_of(error)
    inner = mapping_of(fields.get("innererror"))
    code = name_of(fields.get("code"))
    said, categories = _words_of(_message_of(fields, "no message")), categories_of_error(inner)
    if categories:  # first, since a long message is shortened
        said = f"filtered for {categories}: {said}"
    return ErrorBody(
        message=_clip(redact(said, secrets)),
        code=redact(name_of(inner.get("code")) or code, secrets),
        type=redact(name_of(fields.get("type")) or name_of(fields.get("status")) or (code if inner else ""), secrets),
        param=redact(name_of(fields.get("param")), secrets),
        generated=redact(_json_in(fields.get("failed_generation")), secrets),
    )


def _json_in(generated: object) -> str:
    """What the model answered, out of its fence; empty unless it is whole JSON."""
    if not isinstance(generated, str):
        return ""
    fenced = _FENCE.match(generated)
    text = generated if fenced is None else fenced.group(1)
    try:
        orjson.loads(text)
    except ValueError:
        return ""
    return text


def _base_resp(fields: Mapping[str, object]) -> dict[str, object] | None:
    """MiniMax's way to say that a 200 is an error."""
    said = mapping_of(fields.get("base_resp"))
    if not said.get("status_code"):
        return None
    return {"code": said.get("status_code"), "message": said.get("status_msg")}


def _message_of(fields: Mapping[str, object], absent: object) -> object:
    """An error's words; a gateway's own, where they say nothing, are followed by the upstream provider's."""
    message = next((fields[name] for name in ("message", "detail", "msg", "error_msg") if fields.get(name)), absent)
    raw = mapping_of(fields.get("metadata")).get("raw")
    if raw and isinstance(message, str) and message.strip().lower() in _VAGUE:
        return f"{message}: {_words_of(raw)}"
    return message


def _page_words(content: bytes) -> str:
    """A page's title and heading, or the text itself where it is no page."""
    text = content.decode("utf-8", "replace")
    if not _PAGE.match(text):
        return text
    titles = dict.fromkeys(match.group(2) for match in _TITLE.finditer(text))
    return f"a page of HTML: {' / '.join(titles)}" if titles else text


def _words_of(value: object) -> str:
    try:
        return str(value)
    except RecursionError:
        return "a message that is nested too deeply to be shown"


def _clip(text: str) -> str:
    return shorten(" ".join(text.split()), _MESSAGE_CHARACTERS)
