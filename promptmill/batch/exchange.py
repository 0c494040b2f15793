"""Exports batch files for people who run them elsewhere, and imports the results.

`vllm run-batch` and other programs take the same lines as OpenAI's Batch API and give the same lines back.
"""

import shutil
import time
from pathlib import Path

from promptmill.batch.files import Packer, Room
from promptmill.batch.ledger import Ledger
from promptmill.batch.pending_rows import PendingRows
from promptmill.batch.places import find_lines
from promptmill.batch.result_files import reading_of
from promptmill.batch.results import Expected, read_slices
from promptmill.batch.submit import encoder_of, reserve_price
from promptmill.checkpoints.answer_files import answers_table
from promptmill.errors import DatasetError, JobError
from promptmill.planning.kept import find_kept
from promptmill.provider.transport import known_secrets
from promptmill.runs.run import PendingRun


def export_batches(run: PendingRun, folder: Path) -> list[Path]:
    """Write a job's unanswered rows as batch files; returns their paths. Rows in live batches are left out. Blocks.

    Raises: DatasetError when the folder has batch files already; JobError when a row fits into none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prepared = run.prepared
    if (standing := sorted(folder.glob(f"{prepared.job.name}-*.jsonl"))) != []:
        raise DatasetError(
            f"{folder} holds {len(standing)} batch files of {prepared.job.name} already, {standing[0].name} the first; an "
            "export is written to a folder without any (--to). Remove them or give another folder."
        )
    rows = _pending(run)
    packer = Packer(rows, encoder_of(prepared), reserve_price(prepared), folder)
    batch, written = prepared.job.batch, list[Path]()
    while (file := packer.next_file(Room(batch.max_requests, batch.max_bytes))) is not None:
        target = folder / f"{prepared.job.name}-{len(written):05d}.jsonl"
        shutil.move(file.path, target)
        written.append(target)
    if packer.full_by is not None:
        raise JobError(
            f"a row's request alone doesn't fit into a batch file: its {packer.full_by} are more than the limit of "
            f"{batch.max_bytes:,} bytes (batch.max_bytes). Shorten it or raise the limit; the {len(written)} files "
            f"written to {folder} lack that row and all after it."
        )
    return written


def import_results(run: PendingRun, files: list[Path]) -> tuple[int, int]:
    """Keep the answers in result files; returns how many rows they answer and how many lines are of no use. Blocks.

    A line is of no use when it is torn, when its row needs no answer, or when it failed at the server.

    Raises: DatasetError when no line is of this job.
    """
    prepared = run.prepared
    ids, text_tokens = _pending(run).rows()
    places = find_lines(files, ids)
    stamp = f"import-{time.time_ns():x}"
    kept, unused = 0, places.unreadable + places.foreign
    reading = reading_of(prepared, known_secrets(run.credentials), _expected(run), places)
    for number, part in enumerate(read_slices(places, reading, text_tokens)):
        if part.results:
            prepared.store.save_slice(f"{stamp}-{number:05d}", answers_table(part.results))
        kept, unused = kept + len(part.results), unused + len(part.leftovers)
    if kept == 0:
        raise DatasetError(
            f"none of the {unused:,} lines in {len(files)} files answers a row of {prepared.job.name}; lines are joined by "
            "custom_id, which changes with the prompt, the model and the parameters. Import the results of this job's export."
        )
    return kept, unused


def _expected(run: PendingRun) -> Expected:
    """Input tokens and US dollars that a row of the job is expected to take on average."""
    plan, estimate = run.preflight.plan, run.preflight.estimate
    return Expected(-(-plan.input_tokens // max(1, plan.asked)), estimate.batch_usd / max(1, estimate.rows))


def _pending(run: PendingRun) -> PendingRows:
    ledger = Ledger(run.prepared.store.storage).load()
    kept = find_kept(run.prepared.store, run.preflight.plan, run.again)
    return PendingRows(run, ledger, kept, time.time())
