"""Import and load everything that a run needs, once: each run is a fork of the process that imported this.

Otherwise each run would import its modules and load its tokenizer, which takes five times the run's own CPU.
Start no thread here: a fork doesn't have it.
"""

import promptmill.batch.following  # pyright: ignore[reportUnusedImport]
import promptmill.batch.session  # pyright: ignore[reportUnusedImport]
import promptmill.output.report.plots  # noqa: F401  # pyright: ignore[reportUnusedImport]
from benchmarks.campaign import child  # noqa: F401  # pyright: ignore[reportUnusedImport]
from benchmarks.rig import MODEL
from promptmill.prompts.tokens import counter_for

counter_for(MODEL)
