"""What happened in a round, for the judge: put together from the ledger, the output and the commands' ends."""

from collections.abc import Sequence

from benchmarks.campaign import jobs
from benchmarks.campaign.books import Books
from benchmarks.campaign.draw import Round
from benchmarks.campaign.jobs import Place
from benchmarks.campaign.judge import History, Look, Ran


def history_of(
    drawn: Round,
    place: Place,
    books: Books,
    ran: Sequence[Ran],
    looks: Sequence[tuple[set[str], dict[str, int]]],
    left: tuple[str, ...],
) -> History:
    """The history of a round without a cap; `looks` are delivered custom_ids and bodies → times billed, per command."""
    rows = jobs.published_rows(place.output)
    numbers = {name: row for row, name in rows}
    return History(
        bodies=jobs.bodies(drawn),
        ran=tuple(ran),
        looks=tuple(Look(frozenset(numbers[name] for name in ids if name in numbers), billed) for ids, billed in looks),
        billed=books.billed(),
        outputs=tuple(row for row, _ in rows),
        repeated_at_most=drawn.repeated_at_most,
        left=left,
    )
