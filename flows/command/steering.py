"""The commands that tell a run under way what to do: pause, resume, set, stop."""

import getpass
import platform
from collections.abc import Mapping, Sequence

from flows.command import console
from flows.command.places import output_of
from promptmill.errors import JobError
from promptmill.job.file import parse_override
from promptmill.planning.opened_job import CHECKPOINTS
from promptmill.steering.giving import NotHeard, describe, give_order, order_values, wait_until_heard
from promptmill.steering.orders import Action


def steer(
    place: str, overrides: list[str] | None, action: Action, values: Sequence[str] = (), *, as_json: bool = False
) -> None:
    """Give an order and wait until the run has heard it. Raises: SetupError, NotHeard, StorageFailed."""
    checkpoints = output_of(place, overrides).folder(CHECKPOINTS)
    given = give_order(checkpoints, action, _who(), _parsed(values))
    heard = wait_until_heard(checkpoints, given) if given.is_awaited else []
    told = describe(given, heard)
    if as_json:
        console.print_json(order_values(given, heard))
    if given.is_awaited and not heard:
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
