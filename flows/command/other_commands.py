"""Defines the arguments of all other commands, such as export and clean. The code is imported when a command begins."""

import os
import sys
from typing import Annotated

import typer

from flows.command.arguments import AsJson, Overrides, load


def export(
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="The folder of a finished output: a job's output.url.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="FILE", help="The file; .csv, .jsonl or .xlsx says what to write.")
    ],
    failures: Annotated[
        bool, typer.Option("--failures", help="The rows that failed, with the reasons, instead of the answers.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if there is one.")] = False,
) -> None:
    """Write a finished output as one file for a spreadsheet or another program."""
    from flows.command.exporting import export_output

    export_output(output, to, failures, overwrite)


def clean(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="The URL of a finished output.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove kept answers that the output doesn't have, such as those to earlier prompts."""
    from flows.command.cleaning import clean_output

    clean_output(output, is_dry=dry_run, as_json=as_json)


def audit(
    place: Annotated[
        str, typer.Argument(metavar="OUTPUT_OR_JOB", help="The URL of an output, or its job file (.yaml, .json).")
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Say what an output cost, and between which bounds the provider's bill lies."""
    from flows.command.auditing import audit_output

    audit_output(place, overrides, as_json=as_json)


def init(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job file to write.")] = "job.yaml",
    data: Annotated[
        str | None, typer.Option("--data", metavar="URL", help="The input: a file, a folder or a URL.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="What the model should do with each row.")] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="A,B,…", help='What it chooses from; "" for answers in its own words.'),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="The model.")] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="USD", help='The most that all runs may cost; "" for no cap.')
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if there is one.")] = False,
) -> None:
    """Write a first job file: look at the data, and ask what wasn't given."""
    from flows.command.starting import Given, write_first_job

    write_first_job(job, Given(data, prompt, labels, model, budget), overwrite)


def schema() -> None:
    """Print the JSON Schema of job files, by which editors complete and check them."""
    from flows.command.starting import print_schema

    print_schema()


def doctor(
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="A job file, to look at its output, its provider and its shared limit too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at server, worker, blocks, limits, result storage, provider and clock: one line each, with the remedy."""
    from flows.command import console

    console.prepare_prefect()
    from flows.command.doctor import examine
    from flows.command.local import credentials_of
    from promptmill.provider.transport import Credentials

    whole = load(job, None) if job is not None else None
    examine(whole, lambda: Credentials() if whole is None else credentials_of(whole), as_json)


def deploy(
    job: Annotated[
        str | None,
        typer.Option("--job", metavar="URL", help="The job file of the deployments that always run the same job."),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option("--directory", help="In which folder a worker starts runs. Default: the current one."),
    ] = None,
    pool_type: Annotated[
        str | None,
        typer.Option("--pool-type", metavar="TYPE", help="process (the default of a new pool), docker, kubernetes, …"),
    ] = None,
    image: Annotated[str | None, typer.Option("--image", help="The image of a docker or kubernetes pool.")] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", metavar="NAME", help="Save OPENAI_API_KEY and its address in a block of this name."),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="NAME=REQUESTS,TOKENS", help="A shared limit, both a minute."),
    ] = None,
) -> None:
    """Put everything that deployed runs need on the Prefect server: the work pool, blocks, automations, deployments."""
    from flows.command.deploy import DeployOptions, deploy_all

    deploy_all(DeployOptions(job, directory, pool_type, image, tuple(provider or ()), tuple(limit or ())))


def worker(
    pool: Annotated[
        str | None, typer.Option("--pool", help="The work pool. Default: PROMPTMILL_WORK_POOL, else promptmill.")
    ] = None,
) -> None:
    """Answer deployed runs on this machine until you end it; they then keep the answers on their way."""
    from flows.command.worker import work

    work(pool or os.environ.get("PROMPTMILL_WORK_POOL") or "promptmill")


def simulate(context: typer.Context) -> None:
    """Serve a local OpenAI-compatible API with limits, faults and deterministic answers."""
    from promptmill.simulator.__main__ import main as serve

    sys.argv = ["promptmill simulate", *context.args]
    serve("promptmill simulate")
