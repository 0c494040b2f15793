"""One line says how far all processes of a run are together."""

from decimal import Decimal

from promptmill.standalone.crew_line import describe_crew
from promptmill.standalone.messages import Counts


def test_the_line_adds_up_what_the_processes_say() -> None:
    counts = [
        Counts(500, 1, 0, 100.0, 6_000.0, Decimal("0.25"), 8, 1, "requests"),
        Counts(300, 0, 50, 60.0, 3_000.0, Decimal("0.15"), 7, 0, "requests"),
    ]

    assert describe_crew(counts, 2, 2_400, Decimal(1), "paused since 10:00") == (
        "2 processes · rows 800 of 2,400 · failed 1 · 160.0 rows/s · 9,000 tokens/min · 15 in flight, 1 waiting · "
        "limited by requests · $0.4000 of $1.00 · 10 s left · paused since 10:00"
    )


def test_before_the_first_word_of_a_process_nothing_is_guessed() -> None:
    assert describe_crew([Counts(), Counts()], 2, 2_400, None, None) == "2 processes start · rows 0 of 2,400"
