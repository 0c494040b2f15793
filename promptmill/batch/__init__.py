"""Answers rows by the OpenAI Batch API: packs rows into files, creates batches, watches and collects them, wave by wave.

A step (step.py) is one look at every batch of an output. It asks policy.py, which is pure, what to do, and does it.
The ledger beside the checkpoints records each call before the step makes it. So a step may die at any point: the next
step asks the provider what it has, and creates no batch twice.

Promise: whatever the provider returns, each row ends as an answer, a failure, or a row that waits for the next wave.
Watch out: a step blocks, so run it in a worker thread. A plan reads the whole input, so a step makes one only when it
needs rows. A torn ledger is an error, because it guards money that is already spent.
"""
