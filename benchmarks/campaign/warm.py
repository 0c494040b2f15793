"""All that a run imports and loads, once: the process that imports this is forked for each run.

Without it each run would load its tokenizer and draw on fresh imports, which takes five times the run's own CPU.
No thread may be started here: a fork doesn't have it.
"""

import promptmill.output.report.plots  # noqa: F401  # pyright: ignore[reportUnusedImport]
from benchmarks.campaign import child  # noqa: F401  # pyright: ignore[reportUnusedImport]
from benchmarks.rig import MODEL
from promptmill.prompts.tokens import counter_for

counter_for(MODEL)
