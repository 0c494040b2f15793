"""`make demo`: check, sample and run a real job over real text, with a real model on this machine."""

import os
import shutil
import subprocess
import sys
import time
from decimal import Decimal

import promptmill
from examples.local_model import FOLDER, ROOT, local_model
from promptmill.output.manifest import read_manifest
from promptmill.storage import Storage

JOB = "examples/reviews.yaml"
OUTPUT = ROOT / "demo-output" / "reviews"


def main() -> int:
    """Run the demo; returns its exit code. `--fresh` forgets the demo's earlier output."""
    if "--fresh" in sys.argv:
        shutil.rmtree(OUTPUT, ignore_errors=True)
    began = time.monotonic()
    with local_model() as served:
        print(f"The model: {served.description}.", flush=True)
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": served.base_url,
            "OPENAI_API_KEY": "local",
            "PREFECT_HOME": str(FOLDER / "prefect"),  # the demo touches nothing outside the project
        }
        for words in (["check", JOB], ["sample", JOB, "-n", "5"], ["run", JOB, "--prefect"]):
            print(f"\n$ promptmill {' '.join(words)}", flush=True)
            code = subprocess.run(
                [sys.executable, "-m", "flows", *words], cwd=ROOT, env=environment, check=False
            ).returncode
            if code:
                return code
    _show(time.monotonic() - began)
    return 0


def _show(seconds: float) -> None:
    manifest = read_manifest(Storage(str(OUTPUT)))
    if manifest is None:
        return
    frame = promptmill.read(str(OUTPUT))
    print("\nThe first rows of the output:\n")
    print(frame[["text", "expected", "sentiment", "llm_output_tokens", "llm_cost_usd"]].head(8).to_string(index=False))
    agreement = (manifest.accuracy or {}).get("sentiment", {})
    print(
        f"\n{manifest.succeeded} of {manifest.rows} rows answered in {seconds:.0f} s, for ${_money(manifest.cost_usd)}."
    )
    print(f"{agreement.get('accuracy', 0):.0%} agree with the known labels: it is a very small model.")
    print(f"The report: {(OUTPUT / '_report.html').as_uri()}")
    print("Run `make demo` again: it sends nothing, since every row is answered.")


def _money(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


if __name__ == "__main__":
    raise SystemExit(main())
