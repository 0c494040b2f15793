"""Prefect's server on sqlite, such that its writers wait for each other instead of failing: what `make serve` starts.

Prefect 3.8.8 begins a transaction of sqlite without a lock and takes it at the first write. Where another one wrote in
between, the write fails at once: a request is answered 503, and an event is put aside after four tries within a tenth of
a second, so that automations miss it. Where it waits instead, the event loop was seen to wait with it, and the whole
server to stand still for the minute that sqlite waits for a lock. A transaction that takes the lock when it begins does
neither. Other databases aren't touched.
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from inspect import signature
from typing import Any

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration


def begin_with_the_lock() -> None:
    """Have each transaction of sqlite take the lock when it begins; a Prefect that begins them otherwise is left alone."""
    theirs = getattr(AioSqliteConfiguration, "begin_transaction", None)
    if theirs is None or "with_for_update" not in signature(theirs).parameters:
        return

    @asynccontextmanager
    async def begin_transaction(
        self: AioSqliteConfiguration, session: Any, with_for_update: bool = False
    ) -> AsyncGenerator[Any]:
        del with_for_update
        async with theirs(self, session, with_for_update=True) as transaction:
            yield transaction

    AioSqliteConfiguration.begin_transaction = begin_transaction  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    begin_with_the_lock()
    sys.argv[1:] = ["server", "start", *sys.argv[1:]]
    app()
