"""Simulates the Batch API on a fast clock: checks a batch, runs its lines, then publishes, cancels or expires it.

`routes` serves the pages under /batches; `worker` takes one batch from `validating` to its end; `checks` finds mistakes in
the input file; `run` answers the lines and `lines` writes them.
A batch shares the event loop with everything else, so `run` and `worker` pause after a few milliseconds of work.
The statuses and the steps between them are in state/batch.py.
"""
