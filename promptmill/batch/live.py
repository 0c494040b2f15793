"""Tells what the live batches of an output hold. It reads the ledger and asks the provider nothing."""

from promptmill.batch.ledger import Ledger
from promptmill.checkpoints.answer_files import ZERO_USD
from promptmill.checkpoints.store import Store
from promptmill.errors import OutputInUse
from promptmill.public_url import public_url
from promptmill.runs.approval import InBatches


def in_batches(store: Store) -> InBatches:
    """Tokens and US dollars that the live batches of an output hold. Blocks. Raises: StorageFailed."""
    live = Ledger(store.storage).load().live
    return InBatches(
        input_tokens=sum(record.input_tokens for record in live),
        reserved_usd=sum((record.reserved_usd for record in live), ZERO_USD),
    )


def refuse_rows_in_batches(store: Store, output_url: str) -> None:
    """Raises OutputInUse if batches may still answer rows, which an online run would pay for again. Blocks."""
    if live := Ledger(store.storage).load().live:
        rows = sum(record.requests for record in live)
        raise OutputInUse(
            f"{len(live):,} batches with {rows:,} rows of {public_url(output_url)} are on their way, and an online "
            "run would pay for the same rows. Run the job with --mode batch, which takes them up, let `promptmill "
            "batches advance` collect them, or end them by `promptmill batches cancel`; then run this again."
        )
