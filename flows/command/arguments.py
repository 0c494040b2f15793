"""Defines arguments of several commands: the job file, changes to it, whether to wait, and whether to print JSON."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptmill.memory import spare_pandas
from promptmill.public_url import public_text

if TYPE_CHECKING:  # so that --help imports neither
    from flows.command.doing import Doing
    from promptmill.job.spec import Job

JobFile = Annotated[str, typer.Argument(metavar="JOB", help="The job file: a path or any fsspec URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON as the last line of stdout.")]
NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait", help="End with exit code 2 while another run works on the same output, instead of waiting for it."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="A.B=VALUE", help="Replace a value of the job; the value is YAML. May be given several times."
    ),
]


def load(job: str, overrides: list[str] | None, tell: Callable[[str], None] | None = None) -> "Job":
    """The job in a file, with the folder's defaults and the changes of `--set`. Raises: JobError."""
    from promptmill.job.defaults import find_defaults
    from promptmill.job.file import load_job, parse_override

    defaults = find_defaults(Path.cwd())
    if defaults is not None and tell is not None:
        tell(f"defaults of {defaults.source}: {defaults.names()}")
    return load_job(job, dict(parse_override(text) for text in overrides or []), defaults)


@contextmanager
def loading(job: str, overrides: list[str] | None) -> "Generator[tuple[Job, Doing]]":
    """The job in a file, and a display that tells a person what happens with it. Raises: JobError."""
    from flows.command.doing import doing

    with doing(f"reading {public_text(job)}") as told:
        whole = load(job, overrides, told.line)
        spare_pandas()
        yield whole, told
