"""Connects Promptmill to Prefect: tasks, states of flow runs, artifacts, events, blocks, automations and leases.

`promptmill` does the work and knows no Prefect; `tasks` calls it and tells Prefect about it, and `flows` calls `tasks`.
The rooms: `run` takes one flow run from its plan to its end; `batch` and `sharding` answer rows in the two other ways;
`server` has everything that we keep on a Prefect server or ask it; and `prefect_internals` has everything that we use of
Prefect beyond its documented API.

Flows rely on this: a Prefect server that is away doesn't end a run, and no answer depends on what Prefect stores.
Watch out: most of `promptmill` blocks, so call it in a thread (`asyncio.to_thread`). A key is read inside a task, and is
never a parameter, an argument or a result of one, since Prefect shows and stores these.
"""
