"""Defines the orders to a run under way, and adds them up. Pure.

An order belongs to one run and holds until that run ends; the next run follows its job alone. Orders count in the order of
their numbers: we compare no clocks, and `at` is only for people.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, cast

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from promptmill.errors import SetupError, StoppedByOrder
from promptmill.job.spec import Job, Limits
from promptmill.public_url import public_text
from promptmill.shorten import shorten
from promptmill.suggest import nearest

Action = Literal["pause", "resume", "set", "stop", "share"]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,300}$")]  # terminals show it
Value = int | float | str | None  # a JSON value; money is a decimal string
_LIMITS = (
    "max_concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "input_tokens_per_minute",
    "output_tokens_per_minute",
)
_MAX_FAILURE_RATIO, BUDGET_USD, MAX_CONCURRENCY = "max_failure_ratio", "budget_usd", "limits.max_concurrency"
_SETTABLE = (*(f"limits.{name}" for name in _LIMITS), BUDGET_USD, _MAX_FAILURE_RATIO)
_OF_BATCHES = (BUDGET_USD, _MAX_FAILURE_RATIO)


@dataclass(frozen=True, slots=True)
class Order:
    """An order that somebody gave to a run."""

    action: Action
    by: Name  # who, for people
    at: AwareDatetime
    values: Mapping[str, Value] = field(
        default_factory=dict[str, Value]
    )  # of "set"; of "share", US dollars by a shard's record

    @property
    def what(self) -> str:
        """The order in a few words."""
        return " ".join([self.action, *(f"{name}={_shown(value)}" for name, value in self.values.items())])

    def __str__(self) -> str:
        return f"{self.what}, told by {self.by}, {_moment(self.at)}"


@dataclass(frozen=True, slots=True)
class Steering:
    """The sum of all orders to a run."""

    paused: Order | None = None
    stopped: Order | None = None
    values: Mapping[str, Value] = field(
        default_factory=dict[str, Value]
    )  # key of the job → the value that was set last
    shares_usd: Mapping[str, Value] | None = None  # a shard's record → its share, after a changed budget was divided
    orders: tuple[Order, ...] = ()  # orders of people, oldest first

    @property
    def budget_usd(self) -> Decimal | None:
        """The budget that was set last, in US dollars; None if none was set."""
        value = self.values.get(BUDGET_USD)
        return None if value is None else Decimal(str(value))

    @property
    def max_failure_ratio(self) -> float | None:
        """The ratio that was set last; None if none was set."""
        value = self.values.get(_MAX_FAILURE_RATIO)
        return None if value is None else float(value)

    @property
    def stop(self) -> StoppedByOrder | None:
        """Why the run ends; None if nobody stopped it."""
        if self.stopped is None:
            return None
        return StoppedByOrder(
            f"The run was stopped by {self.stopped.by}, {_moment(self.stopped.at)} (promptmill stop). All answers so far are "
            "kept; run the same command again to go on."
        )

    @property
    def pause(self) -> str | None:
        """Since when the run is paused and how to resume it, as a clause; None while the run may send."""
        if self.paused is None:
            return None
        return f"paused since {_moment(self.paused.at)} by {self.paused.by}; `promptmill resume JOB` resumes it"


NOT_STEERED = Steering()


def add_up(orders: Iterable[Order]) -> Steering:
    """Add up orders in the order of their numbers. Orders after a stop don't count."""
    paused: Order | None = None
    stopped: Order | None = None
    values: dict[str, Value] = {}
    shares: Mapping[str, Value] | None = None
    obeyed: list[Order] = []
    for order in orders:
        if stopped is not None:
            break
        if order.action == "pause":
            paused = paused or order
        elif order.action == "resume":
            paused = None
        elif order.action == "stop":
            stopped = order
        elif order.action == "set":
            values |= order.values
            shares = None if BUDGET_USD in order.values else shares  # the shards need new shares of it
        else:  # the share may belong to an earlier budget, if two were set at the same moment
            shares = order.values if order.values.get(BUDGET_USD) == values.get(BUDGET_USD) else shares
            continue
        obeyed.append(order)
    return Steering(paused, stopped, values, shares, tuple(obeyed))


def require_settable(given: Mapping[str, object], mode: str) -> dict[str, Value]:
    """The values in the form of an order. Raises: SetupError for a name or a value that can't be set."""
    if not given:
        raise SetupError(f"there is nothing to set. Give KEY=VALUE; these can be set: {', '.join(_SETTABLE)}.")
    return {name: _checked(name, value, mode) for name, value in given.items()}


def _checked(name: str, value: object, mode: str) -> Value:
    shown = shorten(public_text(name), 60)
    if name not in _SETTABLE:
        guess = nearest(name, _SETTABLE)
        meant = "" if guess is None else f" Did you mean {guess!r}?"
        raise SetupError(
            f"{shown} can't be set while a run is under way.{meant} These can be: {', '.join(_SETTABLE)}. For anything else "
            "stop the run, change the job and run it again: what was answered is kept."
        )
    if mode == "batch" and name not in _OF_BATCHES:
        raise SetupError(
            f"{name} says how single requests are sent, and a batch run hands files to the provider. Of a batch run these can "
            f"be set: {', '.join(_OF_BATCHES)}."
        )
    section, _, key = name.rpartition(".")
    try:
        found = _validated(section, key, value)
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[-1]["msg"].removeprefix("Value error, ")
        raise SetupError(f"{name} can't be {shorten(repr(value), 60)}: {message}. Nothing was changed.") from error
    if found is None and name in _OF_BATCHES:
        raise SetupError(f"{name} needs a value: a run can't do without it once it is under way. Give a number.")
    return str(found) if isinstance(found, Decimal) else cast(Value, found)


def _validated(section: str, key: str, value: object) -> Any:
    """Validate a value by the job's own model. Raises: ValidationError."""
    if section:
        return getattr(Limits.model_validate({key: value}), key)
    field_info = Job.model_fields[key]
    kind: Any = Annotated[(field_info.annotation, Field(), *field_info.metadata)]  # pyright: ignore[reportInvalidTypeForm]
    return TypeAdapter[Any](kind).validate_python(value)


def _moment(at: datetime) -> str:
    """A time for people."""
    return f"{at:%H:%M:%S} UTC"


def _shown(value: Value) -> str:
    return "null" if value is None else str(value)
