"""One flow run from its plan to its end, as Prefect sees it: tasks, states, artifacts, logs and events.

The work itself is done by `promptmill/runs/`; this room calls it and tells Prefect about it. In a flow's order: `plan`,
`approval`, `one_at_a_time` (runs over the same output take turns), `answering` with `chunks`, `publish`, `ending`.

While rows are answered, `ownership` asks the server whether the run is still this process's, `sigterm` stops it gently, and
`progress` shows how far it is. If the server is away, a run goes on: artifacts and looks may fail, answers may not be lost.
Raise a subclass of `Interrupted` to stop a run; `ending` decides which state the flow run then gets.
"""
