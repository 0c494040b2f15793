"""Finds the output that a person names by its URL or by its job file."""

from flows.command.arguments import load
from promptmill.errors import SetupError
from promptmill.planning.opened_job import open_output, resolve_output, today
from promptmill.storage import Storage

_JOB_FILES = (".yaml", ".yml", ".json")


def is_job_file(place: str) -> bool:
    """Whether a place is a job file."""
    return place.lower().endswith(_JOB_FILES)


def output_of(place: str, overrides: list[str] | None) -> Storage:
    """The output at this place; the input stays unread. Raises: SetupError or a subclass."""
    if is_job_file(place):
        return open_output(resolve_output(load(place, overrides), today()).output.url)
    if overrides:
        raise SetupError(
            "--set changes a job file, and an output's URL is given. Name the job file, or leave --set out."
        )
    return open_output(place)
