"""Takes one flow run from its plan to its end in Prefect: tasks, states, artifacts, logs and events.

`promptmill/runs/` does the work; this room calls it and tells Prefect about it. In a flow's order: `plan`,
`approval`, `one_at_a_time` (runs over the same output take turns), `answering` with `chunks`, `publish`, `ending`.

While a run answers rows, `ownership` asks the server whether the run still belongs to this process, `sigterm` stops it
gently, and `progress` shows how far it is. If the server is away, a run goes on: artifacts and looks may fail, but no answer
may be lost.
Raise a subclass of `Interrupted` to stop a run; `ending` decides which state the flow run then gets.
"""
