"""Examples that really run: `make demo`, and a chain of flows to copy and change.

`demo` checks, samples and runs `reviews.yaml` over real text, with a real language model on this machine (`local_model`),
so that a newcomer needs neither a key nor money. `chain` shows what comes before a run and after it.

Tests check the examples, and the pages in docs/ name them. Nothing else imports this folder.
Watch out: the first `make demo` downloads the model. If that fails, or the model can't run here, the simulator answers
instead, and the demo says so.
"""
