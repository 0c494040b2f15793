"""`python -m benchmarks scale`: 100 million rows on a virtual clock, into docs/scale.md.

It needs no server and no network, and takes about a minute of CPU: the leases of a shared limit are simulated call by call.
`scale measure`, `scale server` and `scale publishing` measure the numbers of measured.py by small runs.
"""

from dataclasses import asdict

from benchmarks.rig import report
from benchmarks.scale.breaks import find_resources
from benchmarks.scale.leases import Shared
from benchmarks.scale.measure import measure
from benchmarks.scale.measure_publishing import measure_publishing
from benchmarks.scale.scenarios import (
    ANSWER_SECONDS,
    WORKERS,
    simulate_columns,
    simulate_leases,
    simulate_parts,
    simulate_queues,
)
from benchmarks.scale.server_capacity import measure_server
from benchmarks.scale.tables import PAGE, batch_table, break_table, lease_table, online_table, put_table


def main(what: str = "simulate") -> None:
    """Simulate and write the page's tables, or measure."""
    work = {"simulate": _simulate, "measure": measure, "server": measure_server, "publishing": measure_publishing}
    if what not in work:
        raise SystemExit(f"there is no {what!r} in scale; there are {', '.join(work)}.")
    work[what]()


def _simulate() -> None:
    leases = simulate_leases()
    for (workers, server), found in leases.items():
        report("scale/leases", workers=workers, server=server, **asdict(found))
    tables = quick_tables(_lease_calls(leases)) | {"leases": lease_table(leases)}
    text = PAGE.read_text()
    for name, table in tables.items():
        text = put_table(text, name, table)
    PAGE.write_text(text)


def quick_tables(lease_calls: float) -> dict[str, str]:
    """The page's tables without that of the leases, which takes half a minute; they make so many calls a second."""
    parts = simulate_parts()
    columns, queues = simulate_columns(parts.used_percent / 100), simulate_queues()
    report("scale/parts", **asdict(parts))
    for column in columns:
        report("scale/online", account=column.account, chunk_rows=column.chunk_rows, **asdict(column.figures))
    for (tokens, hours), waves in queues.items():
        report("scale/batches", enqueued_tokens=tokens, batch_hours=hours, **asdict(waves))
    run, figures = columns[0].run, columns[0].figures
    found = find_resources(run, figures, ANSWER_SECONDS, lease_calls)
    for resource in found:
        values = {"what": resource.name, "needs": resource.needs, "bears": resource.bears}
        report("scale/breaks", **values, breaks_at=round(resource.breaks_at(run)), grows_by=resource.grows_by)
    return {"online": online_table(columns), "batches": batch_table(queues), "breaks": break_table(run, found)}


def _lease_calls(leases: dict[tuple[int, str], Shared]) -> float:
    """Calls a second for leases of all workers, where the server is quick enough to answer them all."""
    return leases[WORKERS, "large"].server_calls_a_second
