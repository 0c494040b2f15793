"""What the demo ships is whole: rows, labels, job file, pinned model."""

import csv

from promptmill.job.file import load_job
from tests.support.paths import ROOT


def test_the_dataset_is_a_few_hundred_texts_with_known_labels() -> None:
    with (ROOT / "examples/reviews.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert 200 <= len(rows) <= 500
    assert len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == len(rows)
    assert {row["expected"] for row in rows} == {"positive", "negative"}


def test_the_job_file_is_a_job() -> None:
    job = load_job(str(ROOT / "examples/reviews.yaml"))

    assert job.output.compare == {"sentiment": "expected"}


def test_the_model_and_every_dependency_are_pinned_by_hash_and_name_no_address() -> None:
    model = (ROOT / "examples/model-requirements.txt").read_text()
    lock = (ROOT / "requirements-dev.lock").read_text()

    assert "--hash=sha256:" in model
    for text in (model, lock):
        assert "://" not in text
    pins = [line for line in lock.splitlines() if "==" in line and not line.startswith(("#", " "))]
    assert len(pins) > 100
    assert lock.count("--hash=sha256:") >= len(pins)
