"""Arguments that several commands take: the job file, changes to it, whether to wait, and whether to print JSON."""

from typing import Annotated

import typer

from promptmill.job.file import load_job, parse_override
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


def load(job: str, overrides: list[str] | None) -> Job:
    """The job in a file, with the changes of `--set`. Raises: JobError."""
    return load_job(job, dict(parse_override(text) for text in overrides or []))
