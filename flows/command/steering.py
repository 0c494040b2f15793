"""The commands that tell a run under way what to do: pause, resume, set, stop."""

import getpass
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from flows.command import console
from flows.command.places import output_of
from promptmill.errors import JobError, PromptmillError
from promptmill.job.file import parse_override
from promptmill.planning.opened_job import CHECKPOINTS
from promptmill.steering.giving import Given, describe, give_order, wait_until_heard
from promptmill.steering.order_files import Heard
from promptmill.steering.orders import Action


class NotHeard(PromptmillError):
    """No process said that it heard the order."""


def steer(
    place: str, overrides: list[str] | None, action: Action, values: Sequence[str] = (), *, as_json: bool = False
) -> None:
    """Give an order and wait until the run has heard it. Raises: SetupError, NotHeard, StorageFailed."""
    checkpoints = output_of(place, overrides).folder(CHECKPOINTS)
    given = give_order(checkpoints, action, _who(), _parsed(values))
    is_heard_now = given.name is not None and given.is_at_work
    heard = wait_until_heard(checkpoints, given) if is_heard_now else []
    told = describe(given, heard)
    if as_json:
        console.print_json(_values(given, heard))
    if is_heard_now and not heard:
        raise NotHeard(told)
    console.say(told)


def _parsed(values: Sequence[str]) -> Mapping[str, object]:
    try:
        return dict(parse_override(value) for value in values)
    except JobError as error:
        raise JobError(str(error).replace("--set ", "").replace("such as --set", "such as")) from error


def _who() -> str:
    """The person at this terminal, as the run and its manifest name them."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        name = "somebody"
    return f"{name}@{platform.node()}"


def _values(given: Given, heard: Sequence[Heard]) -> dict[str, Any]:
    return {
        "run": given.run.what,
        "order": given.order.what,
        "by": given.order.by,
        "at": given.order.at.isoformat(),
        "heard_by": [one.who for one in heard],
    }
