"""A process that runs a job over its file, as a notebook does: `python -m tests.support.running JOB.json BASE_URL`."""

import os
import sys
from pathlib import Path

import pandas as pd

import promptmill


def main(job_file: str, base_url: str) -> None:
    """Run the job to its end."""
    os.environ |= {"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": base_url}
    job = promptmill.Job.model_validate_json(Path(job_file).read_bytes())
    promptmill.run(pd.read_parquet(job.input.urls[0]), job)


if __name__ == "__main__":
    main(*sys.argv[1:])
