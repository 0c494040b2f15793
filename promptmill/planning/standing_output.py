"""The output that is there already: whether it is what this job would make, and whether this run may replace it."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from promptmill.errors import OutputError, StorageFailed
from promptmill.job.spec import Job, RetryFailed
from promptmill.output.differences import describe_difference
from promptmill.output.manifest import MANIFEST, OUR_PART, REPORT, Manifest, read_manifest
from promptmill.output.publishing import FAILURES, PUBLISHING, settle_publishing, unlisted_parts
from promptmill.planning.opened_job import CHECKPOINTS, SAMPLES, Opened
from promptmill.records import PASSING_KINDS
from promptmill.storage import PROBE, STORAGE_ERRORS, Storage

_OURS = frozenset({MANIFEST, REPORT, PUBLISHING, FAILURES, CHECKPOINTS, SAMPLES})  # files and folders beside the parts
OUR_REPORT = b'<span class="state'  # every report of ours has it
log = logging.getLogger("promptmill")


def retry_scope(job: Job, is_all: bool) -> RetryFailed:
    """Which failures a run asks for again; `is_all`: it was told to ask for all of them (`--retry-failed`)."""
    return "all" if is_all else job.retry_failed


def finished_manifest(prepared: Opened, retry_failed: RetryFailed) -> Manifest | None:
    """The manifest of an output that is already what this job would make, with this run's own figures; None otherwise.

    Finishes the cleaning that a killed run left undone. Raises: OutputError when the output can't be read or cleaned.
    """
    standing = read_manifest(prepared.output)
    _finish_cleaning(prepared.output, standing)
    if standing is None or standing.input_fingerprint != prepared.identity or standing.job_digest != prepared.digest:
        return None
    if standing.state != "completed" or _failures_to_ask_again(standing, retry_failed):
        return None
    listed = {part.path: part.bytes for part in (*standing.parts, *standing.failure_parts)}
    sizes = prepared.output.sizes()
    if {name: size for name, size in sizes.items() if name in listed} != listed:
        return None
    _warn_of_unlisted(prepared.output, sizes, standing)
    return replace(standing, reused=standing.rows, requests_sent=0, attempts=0)


def _failures_to_ask_again(standing: Manifest, retry_failed: RetryFailed) -> int:
    if retry_failed == "all":
        return standing.failed
    return sum(standing.failures_by_kind.get(kind, 0) for kind in PASSING_KINDS) if retry_failed == "passing" else 0


def _finish_cleaning(output: Storage, standing: Manifest | None) -> None:
    try:
        settle_publishing(output, standing)
    except (StorageFailed, *STORAGE_ERRORS) as error:
        raise OutputError(
            f"{output.shown} has parts of two versions, and the old ones can't be removed: {output.describe(error)}. A reader "
            "of the folder would count rows twice (output.url). Give access, then run the same command again."
        ) from error


def _warn_of_unlisted(output: Storage, names: Iterable[str], standing: Manifest) -> None:
    if unlisted := unlisted_parts(names, standing):
        log.warning(
            "%s holds %d parts that its manifest doesn't list; the first is %s. Readers of the folder take their rows too. "
            "They are left alone, since nothing says that Promptmill wrote them; delete them if you didn't put them there.",
            output.shown,
            len(unlisted),
            unlisted[0],
        )


def refuse_foreign_output(prepared: Opened, overwrite: bool) -> None:
    """Raises: OutputError if this run may not replace the output that is there, or the report isn't ours."""
    standing = read_manifest(prepared.output)
    if standing is None:
        _refuse_foreign_report(prepared.output)
        if not overwrite and not prepared.job.output.allow_other_files:
            _refuse_other_files(prepared)
    if overwrite or standing is None or standing.job_digest == prepared.digest:
        return
    differences = "\n".join(f"  {line}" for line in describe_difference(standing, prepared.job))
    raise OutputError(
        f"{prepared.output.shown} holds the output of another job:\n{differences}\nOne folder holds one job's output "
        "(output.url). Give another output.url, or run with --overwrite to replace it."
    )


def _refuse_other_files(prepared: Opened) -> None:
    """Raises: OutputError if the folder of a first run holds files that are neither ours nor the input's."""
    output = prepared.output
    try:
        found = output.sizes()
    except STORAGE_ERRORS as error:
        raise OutputError(
            f"{output.shown} can't be listed: {output.describe(error)}. A run looks there for files of others (output.url). "
            "Check the permissions and AWS_*."
        ) from error
    inputs = {file.path for file in prepared.source.files}
    others = [name for name, size in found.items() if size and is_foreign(name) and output.path(name) not in inputs]
    if others:
        raise OutputError(
            f"{output.shown} holds {len(others):,} file(s) that Promptmill didn't write, such as {min(others)}; an output has "
            "a folder of its own, which its readers read as a whole (output.url). Give another output.url, or set "
            "output.allow_other_files: true, which leaves them alone."
        )


def is_foreign(name: str) -> bool:
    """Whether a file of an output's folder isn't called as ours are. Hidden files, such as .gitkeep, are nobody's."""
    first = name.split("/", maxsplit=1)[0]
    is_ours = first in _OURS or first.startswith(PROBE) or OUR_PART.fullmatch(name) is not None
    return not is_ours and not first.startswith(".")


def _refuse_foreign_report(output: Storage) -> None:
    """Raises: OutputError if a file has the report's name and no run of ours wrote it."""
    try:
        is_ours = OUR_REPORT in output.read(REPORT)
    except FileNotFoundError:
        return
    except STORAGE_ERRORS as error:
        raise OutputError(
            f"{output.shown}/{REPORT} can't be read: {output.describe(error)}. A run writes its report there (output.url). "
            "Check the permissions and AWS_*."
        ) from error
    if not is_ours:
        raise OutputError(
            f"{output.shown}/{REPORT} wasn't written by Promptmill, which writes its report under that name (output.url). "
            "Move the file, or give another output.url."
        )
