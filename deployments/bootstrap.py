"""Makes what the deployments need on a Prefect server: work pool, block types, checkpoint storage, automations, limits.

`python deployments/bootstrap.py` makes the missing parts; run it as often as you like. `--check` only names the differences
and exits 1 if there are any. It prints what this environment allows deployed runs to use; each worker's own environment
decides in the end.
It copies secrets from the environment only into blocks: `--provider NAME` keeps OPENAI_API_KEY together with
OPENAI_BASE_URL, so that a person who may start a run can't send the key to another host.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from prefect.client.orchestration import get_client

from promptmill.allowed_urls import MODULES_SETTING, URLS_SETTING, describe_rules
from promptmill.errors import SetupError
from tasks.server.resources import needs


async def bootstrap(options: argparse.Namespace) -> int:
    """Make what is missing, or only name it; returns the exit code."""
    missing = 0
    print(f"allowed  {describe_rules(os.environ)} ({URLS_SETTING}, {MODULES_SETTING}; the workers' own settings count)")
    async with get_client() as client:
        for need in needs(client, options.pool_type, options.provider, options.limit, options.image):
            if await need.is_there():
                print(f"ok       {need.name}")
                continue
            missing += 1
            if not options.check:
                await need.make()
            print(f"{'missing ' if options.check else 'made    '} {need.name}")
    return 1 if options.check and missing else 0


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What Promptmill needs on a Prefect server.")
    parser.add_argument("--check", action="store_true", help="only say what differs; exit 1 if anything does")
    parser.add_argument(
        "--pool-type", metavar="TYPE", help="process (the default of a new pool), docker, kubernetes, …"
    )
    parser.add_argument(
        "--image", help="the image of a docker or kubernetes pool: deployments/Dockerfile, built and pushed"
    )
    parser.add_argument("--provider", action="append", default=[], metavar="NAME", help="save a credentials block")
    parser.add_argument(
        "--limit", action="append", default=[], metavar="NAME=REQUESTS,TOKENS", help="a shared limit, both a minute"
    )
    try:
        raise SystemExit(asyncio.run(bootstrap(parser.parse_args())))
    except SetupError as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
