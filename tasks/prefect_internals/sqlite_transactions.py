"""Makes writers of Prefect's server on sqlite wait for each other instead of failing.

For prefect 3.8.8, `prefect.server.database.configurations`. Prefect begins a transaction of sqlite without a lock and
takes the lock at the first write. If another transaction wrote in between, the write fails at once: the server answers the
request with 503, or puts an event aside after four tries within a tenth of a second, so that automations miss it. If the
write waits instead, the event loop waits with it, and the whole server stands still for the minute that sqlite waits for a
lock. A transaction that takes the lock when it begins does neither. This file doesn't change other databases.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from inspect import signature
from typing import Any

from prefect.server.database.configurations import AioSqliteConfiguration

from tasks.prefect_internals.changes import warn_of_change


def lock_at_begin() -> None:
    """Make each transaction of sqlite in this process take the lock when it begins."""
    theirs = getattr(AioSqliteConfiguration, "begin_transaction", None)
    if theirs is None or "with_for_update" not in signature(theirs).parameters:
        warn_of_change(
            "`AioSqliteConfiguration.begin_transaction` is gone, or takes no `with_for_update`",
            "With sqlite, the server answers some requests with 503 while others write, and automations may miss events; "
            "PostgreSQL isn't affected.",
        )
        return

    @asynccontextmanager
    async def begin_transaction(
        self: AioSqliteConfiguration, session: Any, with_for_update: bool = False
    ) -> AsyncGenerator[Any]:
        del with_for_update
        async with theirs(self, session, with_for_update=True) as transaction:
            yield transaction

    AioSqliteConfiguration.begin_transaction = begin_transaction  # pyright: ignore[reportAttributeAccessIssue]
