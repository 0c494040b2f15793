"""Holds the simulated provider's options: its limits, its speed, its faults.

One flat frozen record, so that the command line, `/_simulator/config` and Python use the same names.
Every fault is off by default, which leaves a fast provider that behaves well.

Defaults with a source: a burst of one minute's worth and failed requests that count (OpenAI's rate-limit guide);
50,000 lines, 200 MB and 24 hours a batch (OpenAI's Batch guide); all read 2026-11-24.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args, get_type_hints

from promptmill.simulator.wire import JsonValue

Window = Literal["bucket", "sliding"]
TokenAccounting = Literal["requested", "actual"]
TokenizerName = Literal["estimate", "tiktoken"]

_DEFAULT_MODELS = (
    "gpt-6-luna",
    "gpt-6-sol",
    "gpt-5.6-luna",
    "gpt-5.4-mini",
    "gpt-4o-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """Everything that can be set; a ratio is 0 to 1, a duration is in seconds, None means no limit."""

    seed: int = 0  # answers and faults depend on this and on the request alone
    api_key: str | None = None  # the only key accepted; None: any but "invalid"
    organization: str = "org-sim"  # named in limit messages
    models: tuple[str, ...] = _DEFAULT_MODELS  # listed by GET /v1/models
    strict_models: bool = False  # 404 for a model that isn't listed
    context_window: int | None = None  # tokens of prompt plus output; above it 400 context_length_exceeded
    track_bodies: bool = True  # count billing by body digest (about 200 bytes a distinct request)

    reply: str | None = None  # text of every free answer; {digest}, {model} and {prompt} are filled in
    tokenizer: TokenizerName = "estimate"  # estimate: 4 characters a token; tiktoken: o200k_base
    cached_ratio: float = 0.0  # part of the input tokens reported as cached
    prompt_cache_seconds: float = 0.0  # how long a prompt's beginning is cached after its last use; 0: not at all
    reasoning_tokens: int = 0  # hidden output tokens added to every text answer

    latency_seconds: float = 0.0  # mean time to an answer
    latency_jitter: float = 0.0  # sigma of the lognormal around that mean; 0: constant

    requests_per_minute: int | None = None  # of one model
    tokens_per_minute: int | None = None  # of one model
    burst_requests: int | None = None  # capacity of the bucket; None: one window's worth
    burst_tokens: int | None = None  # capacity of the bucket; None: one window's worth
    window: Window = "bucket"  # bucket: continuous refill; sliding: never more than the limit in ANY window
    window_seconds: float = 60.0  # the "minute" of the two limits; tests shorten it
    token_accounting: TokenAccounting = "requested"  # requested: prompt + output asked for; actual: the real usage
    failed_requests_count: bool = True  # refused and failed requests count against requests_per_minute
    rate_headers: bool = True  # send x-ratelimit-*

    error_500: float = 0.0  # ratio of attempts answered 500
    error_503: float = 0.0  # ratio of attempts answered 503
    reset: float = 0.0  # ratio of attempts whose connection is reset without an answer
    garbage: float = 0.0  # ratio of attempts answered 200 with what is not JSON
    hang: float = 0.0  # ratio of attempts never answered
    slow_body: float = 0.0  # ratio of attempts whose body stalls half-way, then ends well
    rate_limited: float = 0.0  # ratio of attempts answered 429 though the limits would allow them
    fault_attempts: int | None = None  # only the first so many attempts of a body can meet a fault
    fault_bills: bool = False  # answers lost to reset, hang and garbage (and lost batch lines) are billed all the same
    hang_seconds: float = 600.0  # how long a hung request is held before the connection is reset
    slow_body_seconds: float = 1.0  # how long a slow body stalls
    retry_after_seconds: float = 1.0  # told with 429s that are not the limits' own; 0: not told
    quota_after: int | None = None  # after so many billed requests every answer is 429 insufficient_quota

    batch_seconds: float = 2.0  # from validating to completed: 20 % validating, 60 % running, 20 % finalizing
    batch_expires_seconds: float = 86_400.0  # expires_at - created_at
    batch_max_lines: int = 50_000  # lines of one batch
    batch_max_bytes: int = 200_000_000  # size of one batch's input file
    batch_fail_first: int = 0  # the first so many batches fail as if their file could not be found
    batch_expire_first: int = 0  # only the first so many batches expire; 0: all do if expire_ratio > 0
    expire_ratio: float = 0.0  # ratio of an expiring batch's lines that end as batch_expired; 0: half
    cancel_seconds: float = 0.1  # time spent in cancelling
    cancel_error_lines: bool = False  # write a batch_cancelled line for what a cancelled batch didn't run
    enqueued_token_limit: int | None = None  # input tokens of one model in batches that are not over yet
    line_error_ratio: float = 0.0  # ratio of lines that end in the error file, with status 400 or 500 in turn
    line_duplicate_ratio: float = 0.0  # ratio of output lines written twice
    line_missing_ratio: float = 0.0  # ratio of lines that end in neither file
    line_garbage_ratio: float = 0.0  # ratio of output lines that are torn
    shuffle_output: bool = True  # lines come in an order that is not the input's
    empty_error_file_id: bool = False  # a clean batch says error_file_id "" instead of null
    file_hidden_seconds: float = 0.0  # a result file answers 404 for so long after its batch has ended
    lose_create_ratio: float = 0.0  # ratio of created batches whose answer is lost to a reset connection
    upload_429_ratio: float = 0.0  # ratio of uploads answered 429
    create_429_ratio: float = 0.0  # ratio of batch creations answered 429

    def __post_init__(self) -> None:
        """Refuse values out of range, before anything is served."""
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name))
        for name in _POSITIVE:
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it must be more than 0.")
        for name in (*FAULT_RATIOS, *_OTHER_RATIOS):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a ratio is from 0 to 1.")
        if sum(getattr(self, name) for name in FAULT_RATIOS) > 1:
            raise ValueError(f"the ratios {', '.join(FAULT_RATIOS)} add up to more than 1. Lower some of them.")


FAULT_RATIOS = ("error_500", "error_503", "reset", "garbage", "hang", "slow_body", "rate_limited")
_OTHER_RATIOS = tuple(field.name for field in fields(SimulatorOptions) if field.name.endswith("_ratio"))
_POSITIVE = ("requests_per_minute", "tokens_per_minute", "burst_requests", "burst_tokens", "window_seconds")
LIMIT_OPTIONS = frozenset((*_POSITIVE, "window"))
_HINTS: dict[str, object] = get_type_hints(SimulatorOptions)


def with_changes(options: SimulatorOptions, changes: Mapping[str, JsonValue]) -> SimulatorOptions:
    """The options with some of them changed, as a JSON object or a command line says it.

    Raises: ValueError for an unknown name or an impossible value.
    """
    unknown = sorted(set(changes) - _HINTS.keys())
    if unknown:
        raise ValueError(f"unknown options: {', '.join(unknown)}. Known: {', '.join(sorted(_HINTS))}.")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    return replace(options, **values)  # pyright: ignore[reportArgumentType] -- __post_init__ checks each type


def _check_type(name: str, value: object) -> None:
    allowed = _allowed_types(_HINTS[name])
    choices = [choice for choice in allowed if not isinstance(choice, type)]
    if (choices and value not in choices) or (not choices and not _is_one_of(value, allowed)):
        raise ValueError(f"{name} is {value!r}, which is not of {_HINTS[name]}.")


def _is_one_of(value: object, allowed: tuple[object, ...]) -> bool:
    if isinstance(value, bool):
        return bool in allowed
    if isinstance(value, int):
        return int in allowed or float in allowed
    return type(value) in allowed


def _allowed_types(hint: object) -> tuple[object, ...]:
    if hint == tuple[str, ...]:
        return (tuple,)
    return get_args(hint) or (hint,)
