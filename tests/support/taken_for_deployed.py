"""Carries out a flow in a process that takes itself for a deployed run: `taken_for_deployed FLOW ARGUMENTS`, these as JSON.

Prefect itself would go on with the run that its variable names, so this process sets no variable.
"""

import asyncio
import json
import sys
from importlib import import_module

import tasks.run.deployed as deployed


def main(flow: str, arguments: str) -> None:
    """Carry out a flow, which has the name of its module."""
    carry_out = getattr(import_module(f"flows.{flow}"), flow)
    deployed.is_started_by_worker = lambda: True
    asyncio.run(carry_out(**json.loads(arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
