"""Defines the arguments of the commands for a run under way. The code is imported when a command begins."""

from typing import Annotated

import typer

from flows.command.arguments import AsJson, Overrides

Place = Annotated[
    str,
    typer.Argument(metavar="JOB_OR_OUTPUT", help="The job file of the run (.yaml, .json), or the URL of its output."),
]


def pause(place: Place, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Let a run that is under way send nothing more until you resume it."""
    from flows.command.steering import steer

    steer(place, overrides, "pause", as_json=as_json)


def resume(place: Place, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Let a paused run go on."""
    from flows.command.steering import steer

    steer(place, overrides, "resume", as_json=as_json)


def stop(place: Place, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """End a run that is under way, wherever it works; what was answered is kept."""
    from flows.command.steering import steer

    steer(place, overrides, "stop", as_json=as_json)


def set_values(
    place: Place,
    values: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE…",
            help="What to set, such as limits.max_concurrency=20 budget_usd=50; the value is YAML.",
        ),
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Change limits, budget or failure ratio of a run that is under way."""
    from flows.command.steering import steer

    steer(place, overrides, "set", values, as_json=as_json)


def peek(
    place: Place,
    rows: Annotated[int, typer.Option("-n", "--rows", min=1, help="How many rows.")] = 10,
    last: Annotated[bool, typer.Option("--last", help="The last rows that are answered, not the first ones.")] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show the answers that there are while a run is under way, or after one that ended early."""
    from flows.command.peeking import peek_at

    peek_at(place, overrides, rows, is_last=last, as_json=as_json)
