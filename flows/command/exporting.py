"""Runs `promptmill export`: writes a finished output as one file."""

from flows.command import console
from promptmill.output.export.cells import CELL_CHARACTERS
from promptmill.output.export.exporting import export
from promptmill.public_url import public_url


def export_output(output: str, target: str, failures: bool, overwrite: bool) -> None:
    """Write the file and say how many rows it has. Raises: SetupError or a subclass."""
    written = export(output, target, failures=failures, overwrite=overwrite)
    console.say(f"{written.rows:,} {'failed rows' if failures else 'rows'} written to {public_url(target)}")
    if written.cut:
        console.say(
            f"{written.cut:,} texts are longer than the {CELL_CHARACTERS:,} characters that a cell holds, and were cut there; "
            "a .csv or .jsonl file has them whole"
        )
