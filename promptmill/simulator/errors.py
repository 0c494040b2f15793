"""The provider's refusals, in the provider's words.

Clients classify by status, `type`, `code` and sometimes by the text ("Please try again in 7.62s"), so the wording is
part of the protocol. Bodies as in OpenAI's error-code and rate-limit guides and in public issues, read 2026-11-24.
"""

import math

from promptmill.simulator.wire import JsonObject, encode

_QUOTA_MESSAGE = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
_NO_KEY_MESSAGE = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
    "https://platform.openai.com/account/api-keys."
)
_FILTERED = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your "
    "prompt and retry."
)
LIMITS_PAGE = "Visit https://platform.openai.com/account/rate-limits to learn more."
Headers = list[tuple[bytes, bytes]]


class ApiError(Exception):
    """An answer other than 200: its status and the four fields of OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: JsonObject = {"message": message, "type": type, "param": param, "code": code}
        self.retry_after_seconds = retry_after_seconds  # None: no Retry-After header

    def body(self) -> bytes:
        """The JSON body."""
        return encode({"error": self.error})

    def headers(self) -> Headers:
        """Retry-After in whole seconds, never less than the wait, and its exact form in milliseconds."""
        if not self.retry_after_seconds:
            return []
        return [
            (b"retry-after", b"%d" % max(1, math.ceil(self.retry_after_seconds))),
            (b"retry-after-ms", b"%d" % math.ceil(self.retry_after_seconds * 1000)),
        ]


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400 invalid_request_error."""
    return ApiError(400, message, param=param, code=code)


def no_such_route(method: str, path: str) -> ApiError:
    """404 for a path that is served by nobody."""
    return ApiError(404, f"Invalid URL ({method} {path})")


def wrong_key(key: str) -> ApiError:
    """401: no key at all, or one that is not accepted (shown masked)."""
    if not key:
        return ApiError(401, _NO_KEY_MESSAGE)
    shown = f"{key[:4]}***{key[-3:]}" if len(key) > 8 else "***"
    page = "https://platform.openai.com/account/api-keys"
    message = f"Incorrect API key provided: {shown}. You can find your API key at {page}."
    return ApiError(401, message, code="invalid_api_key")


def no_such_model(model: str) -> ApiError:
    """404 model_not_found."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ApiError(404, message, code="model_not_found")


def context_too_long(limit: int, tokens: int) -> ApiError:
    """400 context_length_exceeded."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages."
    )
    return invalid(message, param="messages", code="context_length_exceeded")


def prompt_filtered() -> ApiError:
    """400 content_filter: Azure's filter stopped the prompt, with the categories that it names."""
    error = ApiError(400, _FILTERED, type="invalid_request_error", param="prompt", code="content_filter")
    results: JsonObject = {
        "violence": {"filtered": True, "severity": "high"},
        "hate": {"filtered": False, "severity": "safe"},
    }
    error.error["innererror"] = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": results}
    return error


def quota_exceeded() -> ApiError:
    """429 insufficient_quota: no money, not a rate limit."""
    return ApiError(429, _QUOTA_MESSAGE, type="insufficient_quota", code="insufficient_quota")


def rate_limited(message: str, kind: str, retry_after_seconds: float | None) -> ApiError:
    """429 rate_limit_exceeded; the kind is `requests` or `tokens`."""
    return ApiError(429, message, type=kind, code="rate_limit_exceeded", retry_after_seconds=retry_after_seconds)


def server_failed() -> ApiError:
    """500 server_error."""
    message = "The server had an error while processing your request. Sorry about that!"
    return ApiError(500, message, type="server_error")


def overloaded() -> ApiError:
    """503: too many others."""
    return ApiError(503, "The engine is currently overloaded, please try again later.", type="server_error")
