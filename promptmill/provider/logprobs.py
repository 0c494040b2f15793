"""The log probabilities of an answer's tokens, as providers write them. Pure, and none of it raises.

Forms: OpenAI's list of `{token, logprob, bytes}` (API reference, read 2026-11-24), and the older two lists `tokens` and
`token_logprobs` that some servers still write.
"""

from math import isfinite

from promptmill.provider.json_fields import list_of, mapping_of

Token = tuple[bytes, float]


def tokens_in(value: object) -> tuple[Token, ...] | None:
    """The bytes and the log probability of each token; None where they aren't told, or not of each."""
    if not value:
        return None
    fields = mapping_of(value)
    if fields.get("tokens"):
        pairs = zip(list_of(fields.get("tokens")), list_of(fields.get("token_logprobs")), strict=False)
        found = [_token({"token": token, "logprob": logprob}) for token, logprob in pairs]
    else:
        found = [_token(entry) for entry in list_of(fields.get("content") if fields else value)]
    known = tuple(token for token in found if token is not None)
    return known if known and len(known) == len(found) else None


def _token(value: object) -> Token | None:
    fields = mapping_of(value)
    logprob, token, written = fields.get("logprob"), fields.get("token"), fields.get("bytes")
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or not isfinite(logprob):
        return None
    if isinstance(written, list):
        try:
            return bytes(list_of(written)), float(logprob)  # pyright: ignore[reportArgumentType] - that is found out here
        except (TypeError, ValueError):
            return None
    return (token.encode("utf-8", "replace"), float(logprob)) if isinstance(token, str) else None
