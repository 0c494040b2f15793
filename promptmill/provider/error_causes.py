"""An error of a provider → its cause, in one table of evidence: codes first, then the status, then words. Pure.

The same error comes as an HTTP status, inside a 200, or as a line of a batch, and providers spell it differently. A code
decides wherever there is one, since codes are contract and messages aren't; words decide only where the code says nothing
and the status alone would mislead, as Gemini's 400 for a wrong key.
The shapes that this table was made from, with provider, source and date: tests/promptmill/provider/recorded_shapes.py.
"""

import re
from collections.abc import Sequence
from typing import Literal

from promptmill.provider.error_body import ErrorBody

Cause = Literal[
    "money", "key", "rights", "model", "limit", "day", "capacity", "slow_down", "server", "filtered", "too_long", "answer",
    "request"
]  # fmt: skip

_SPELLINGS: dict[Cause, str] = {  # in lower case; the numbers are of MiniMax and Zhipu
    "money": (
        "insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded "
        "project_spend_limit_exceeded organization_usage_limit_exceeded billing_hard_limit_reached "
        "billing_not_active billing_error payment_required insufficient_balance insufficient_user_quota "
        "insufficient_credits insufficient_funds exceeded_current_quota_error arrearage budget_exceeded 1008 "
        "1113"
    ),
    "key": (
        "invalid_api_key incorrect_api_key api_key_invalid invalid_authentication "
        "invalid_authentication_error authentication_error authenticationerror auth_error unauthorized "
        "unauthenticated token_expired expired_api_key account_deactivated no_api_key 1004"
    ),
    "rights": "permission_denied permission_error insufficient_permissions forbidden",
    "model": "model_not_found modelnotfound deploymentnotfound invalid_model model_not_supported not_found_error",
    "limit": (
        "rate_limit_exceeded rate_limit_error rate_limit_reached rate_limit_reached_error too_many_requests "
        "toomanyrequests resource_exhausted throttling throttling_error ratelimitexceeded ratelimitreached "
        "quota_exceeded 1302 1002"
    ),
    "capacity": (
        "resource_unavailable capacity_exceeded overloaded_error engine_overloaded_error engine_overloaded "
        "overloaded model_overloaded service_tier_capacity_exceeded nocapacity over_capacity"
    ),
    "slow_down": "slow_down",
    "server": (
        "server_error internal_error internal_server_error api_error service_unavailable unavailable "
        "service_unavailable_error timeout timeout_error bad_gateway gateway_timeout provider_unavailable "
        "deadline_exceeded internal"
    ),
    "filtered": (
        "content_filter content_policy_violation responsibleaipolicyviolation content_filtered "
        "data_inspection_failed content_moderation moderation_blocked prompt_blocked datainspectionfailed "
        "sensitive_content 1301 1026 invalid_prompt"
    ),
    "too_long": (
        "context_length_exceeded string_above_max_length request_too_large context_window_exceeded "
        "exceed_context_size_error contextwindowexceedederror prompt_too_long max_tokens_per_request"
    ),
    "answer": (  # the model answered, and the provider keeps the answer back since it breaks the format
        "json_validate_failed tool_use_failed output_parse_failed model_error malformed_function_call "
        "invalid_json_output incomplete_json_output structured_output_failed"
    ),
    "request": (
        "invalid_request_error bad_request badrequesterror invalid_argument invalid_value "
        "unsupported_parameter unsupported_value unknown_parameter invalid_parameter "
        "missing_required_parameter"
    ),
}
_CODES: dict[str, Cause] = {code: cause for cause, codes in _SPELLINGS.items() for code in codes.split()}
_WEAK: frozenset[Cause] = frozenset(
    {"request", "server", "limit"}
)  # causes that a provider's general codes claim: words may know better
_STATUSES: dict[int, Cause] = {
    401: "key",
    402: "money",
    403: "rights",
    404: "model",
    429: "limit",
    498: "capacity",  # Groq: flex tier over capacity
    529: "capacity",  # Anthropic: overloaded
}
_WORDS: tuple[tuple[Cause, re.Pattern[str]], ...] = (
    (
        "money",
        re.compile(
            r"insufficient (balance|credit|fund|quota)|credit balance is too low|out of credits?|requires? more credits|"
            r"exceeded your current quota|no (remaining )?credits?\b|payment required|account balance|余额不足|欠费",
            re.IGNORECASE,
        ),
    ),
    (
        "key",
        re.compile(
            r"api[ _-]?key (is )?(not valid|invalid|expired|missing|required)|(invalid|incorrect|expired|missing) api[ _-]?key|"
            r"no api key|token (is |has )?expired|expired token",
            re.IGNORECASE,
        ),
    ),
    (
        "too_long",
        re.compile(
            r"maximum context length|context (length|window|size)[^.]{0,40}exceed|exceed[^.]{0,60}context (length|window|size)|"
            r"prompt is too long|input is too long",
            re.IGNORECASE,
        ),
    ),
    (
        "filtered",
        re.compile(r"content (management|safety) policy|content[ _]filter|flagged by moderation", re.IGNORECASE),
    ),
    (
        "answer",
        re.compile(
            r"failed_generation|model (produced|generated|returned|output)[^.]{0,40} (invalid|malformed|could not be parsed)|"
            r"(generated|model'?s?) (json|output|answer|response)[^.]{0,40}(not match|not valid|invalid|not follow|malformed)",
            re.IGNORECASE,
        ),
    ),
    ("day", re.compile(r"per day|\b[RT]PD\b|\bdaily\b|PerDay\b")),
    ("limit", re.compile(r"rate[- _]?limit|too many requests|quota exceeded", re.IGNORECASE)),
    (
        "model",
        re.compile(
            r"(model|deployment)\b[^.]{0,80}(not found|does not exist|doesn't exist|not exist|unknown)", re.IGNORECASE
        ),
    ),
    (
        "capacity",
        re.compile(r"overloaded|at capacity|over capacity|no capacity|temporarily unavailable", re.IGNORECASE),
    ),
)
_READ_IN: dict[Cause, frozenset[Cause]] = {  # the causes that words may claim, by what status and code say
    "request": frozenset({"money", "key", "too_long", "filtered", "answer", "model"}),
    "rights": frozenset({"money", "key", "filtered", "limit", "day"}),
    "limit": frozenset({"money", "day"}),
    "server": frozenset({"money", "key", "too_long", "answer", "limit", "capacity"}),
    "key": frozenset({"money"}),
}


def cause_of(status: int, error: ErrorBody) -> Cause:
    """Why a request was refused; `status` is the HTTP status, or the one that an error inside a 200 stands for, or 0."""
    coded: list[Cause] = [_CODES[code] for code in (error.code.lower(), error.type.lower()) if code in _CODES]
    strong: Cause | None = next((cause for cause in coded if cause not in _WEAK), None)
    if strong is not None:
        return strong
    found: Cause = _STATUSES.get(status) or _cause_of_status(status, coded)
    told: frozenset[Cause] = _READ_IN.get(found, frozenset[Cause]())
    if found == "limit" and coded:  # Gemini says "you exceeded your current quota" of a limit a minute
        told = told - {"money"}
    for cause, words in _WORDS:
        if cause in told and words.search(error.message):
            return cause
    return found


def _cause_of_status(status: int, coded: Sequence[Cause]) -> Cause:
    """The cause by the status alone, or by a general code where the status says nothing."""
    if status >= 500 or status in {408, 409, 425}:
        return "server"
    if coded:
        return coded[0]
    return "request" if 400 <= status < 500 else "server"


def status_told(error: ErrorBody) -> int | None:
    """The HTTP status that an error inside a 200 stands for; None where it says nothing that is known."""
    if error.code.isascii() and error.code.isdigit() and 400 <= int(error.code[:4]) < 600:
        return int(error.code[:4])
    cause = cause_of(0, error)
    if cause == "server":
        return 500 if {error.code.lower(), error.type.lower()} & _CODES.keys() else None
    return _TOLD[cause]


_TOLD: dict[Cause, int] = {
    "money": 402,
    "key": 401,
    "rights": 403,
    "model": 404,
    "limit": 429,
    "day": 429,
    "capacity": 503,
    "slow_down": 429,
    "filtered": 400,
    "too_long": 400,
    "answer": 400,
    "request": 400,
}
