"""The Batch API: a batch is checked, run line by line, published, cancelled or expired, on a fast clock.

`routes` are the pages under /batches; `worker` takes one batch from `validating` to its end; `checks` finds what is
wrong with the input file; `run` answers the lines and `lines` writes them.
A batch shares the event loop with everything else, so `run` and `worker` pause after a few milliseconds of work.
The statuses and the steps between them are in state/batch.py.
"""
