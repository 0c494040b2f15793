"""A round's job and rows as files, how its provider behaves, and what its output holds."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.campaign.books import PRICING
from benchmarks.campaign.draw import FAULTY_ATTEMPTS, Round
from benchmarks.rig import MODEL
from promptmill.simulator.wire import body_digest

OUTPUT_TOKENS = 2  # reserved for each answer
REPLY = "ok"  # one token
BATCH_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a round's files lie."""

    folder: Path

    @property
    def job(self) -> Path:
        """The job file."""
        return self.folder / "job.json"

    @property
    def door(self) -> Path:
        """A link to the storage; `close_door` turns it away, and the storage is gone for the job."""
        return self.folder / "storage"

    @property
    def storage(self) -> Path:
        """The storage itself."""
        return self.folder / "disk"

    @property
    def output(self) -> Path:
        """The output, as the round looks at it."""
        return self.storage / "out"

    @property
    def is_complete(self) -> bool:
        """Whether the output has a manifest."""
        return (self.output / "_manifest.json").exists()

    def log(self, number: int) -> Path:
        """What a command prints to stderr."""
        return self.folder / f"stderr-{number}"


def texts(drawn: Round) -> list[str]:
    """The rows' texts, which no other round has."""
    return [f"round {drawn.seed} text {number}" for number in range(drawn.rows)]


def bodies(drawn: Round) -> tuple[str, ...]:
    """By row: the digest of the only body that a row may be billed by, made without the package's own renderer."""
    return tuple(
        body_digest(
            {
                "model": MODEL,
                "messages": [{"role": "user", "content": f"Label: {text}"}],
                "max_completion_tokens": OUTPUT_TOKENS,
            }
        ).hex()
        for text in texts(drawn)
    )


def requests_of(drawn: Round) -> int:
    """How many requests of a run without faults reach the provider: one a row, or a file and a batch for each batch."""
    return drawn.rows if drawn.mode == "online" else 2 * -(-drawn.rows // batch_rows(drawn))


def batch_rows(drawn: Round) -> int:
    """Rows of one batch."""
    return max(5, drawn.rows // 3)


def budget_usd(drawn: Round) -> Decimal | None:
    """The cap of a round that has one: a share of what its rows cost."""
    if drawn.budget_share is None:
        return None
    row_usd = Decimal(1) if drawn.mode == "online" else Decimal("0.5")
    return round(Decimal(drawn.budget_share) * drawn.rows * row_usd, 2)


def job_values(drawn: Round, place: Place, cap_usd: Decimal | None) -> dict[str, Any]:
    """The job as an object."""
    return {
        "name": f"campaign-{drawn.seed}",
        "input": {"url": str(place.folder / "rows.parquet")},
        "request": {
            "model": MODEL,
            "user": "Label: {{ text }}",
            "parameters": {"max_completion_tokens": OUTPUT_TOKENS},
        },
        "output": {"url": str(place.door / "out")},
        "pricing": PRICING,
        "budget_usd": None if cap_usd is None else str(cap_usd),
        "max_failure_ratio": 0.5,
        "chunk_rows": drawn.chunk_rows,
        "checkpoint_rows": drawn.checkpoint_rows,
        "chunks_in_flight": drawn.chunks_in_flight,
        "shards": drawn.shards,
        "limits": {"max_concurrency": drawn.max_concurrency},
        "batch": {"poll_seconds": 0.05, "max_requests": batch_rows(drawn)},
    }


def write_job(drawn: Round, place: Place, cap_usd: Decimal | None) -> None:
    """Write the job, and its rows if they aren't there yet."""
    rows = place.folder / "rows.parquet"
    if not rows.exists():
        pq.write_table(pa.table({"text": texts(drawn)}), rows)
    place.job.write_text(json.dumps(job_values(drawn, place, cap_usd)))


def provider_options(drawn: Round, *, is_faulty: bool = True) -> dict[str, object]:
    """How the provider behaves in a round."""
    ratio = FAULTY_ATTEMPTS if is_faulty else 0.0
    online = ("error_500", "error_503", "reset", "garbage", "slow_body", "rate_limited")
    lines = ("line_error_ratio", "line_duplicate_ratio", "line_missing_ratio", "line_garbage_ratio")
    calls = ("upload_429_ratio", "create_429_ratio", "lose_create_ratio")
    return {
        "seed": drawn.seed,
        "reply": REPLY,
        "latency_seconds": drawn.latency_seconds,
        "latency_jitter": 0.5,
        "slow_body_seconds": 0.2,
        "retry_after_seconds": 0.1,
        "batch_seconds": BATCH_SECONDS,
        **dict.fromkeys((*online, *lines, *calls), ratio),
    }


def delivered_ids(output: Path) -> set[str]:
    """The custom_ids of all succeeded answers that lie in the output's checkpoints."""
    found: set[str] = set()
    for file in (output / "_checkpoints").rglob("*.parquet"):
        if not file.name.startswith("_"):
            found |= _ids_without_kind(file)
    return found


def _ids_without_kind(file: Path) -> set[str]:
    try:
        table = pq.read_table(file, columns=["custom_id", "kind"], partitioning=None)  # pyright: ignore[reportArgumentType]
    except (OSError, pa.ArrowException, KeyError):
        return set()  # torn, or no file of answers: nothing was delivered in it
    pairs: Iterable[tuple[str, str | None]] = zip(
        table["custom_id"].to_pylist(), table["kind"].to_pylist(), strict=True
    )
    return {name for name, kind in pairs if kind is None}


def published_rows(output: Path) -> list[tuple[int, str]]:
    """Row number and custom_id of each row, succeeded or failed, in the files that the manifest names."""
    try:
        manifest = json.loads((output / "_manifest.json").read_bytes())
    except (OSError, ValueError):
        return []
    found: list[tuple[int, str]] = []
    for part in (*manifest["parts"], *manifest["failure_parts"]):
        table = pq.read_table(output / part["path"], columns=["row_index", "llm_custom_id"], partitioning=None)  # pyright: ignore[reportArgumentType]
        found += zip(table["row_index"].to_pylist(), table["llm_custom_id"].to_pylist(), strict=True)
    return found
