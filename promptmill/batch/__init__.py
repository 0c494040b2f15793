"""A run by the OpenAI Batch API: rows packed into files, batches created, looked at and collected, wave by wave.

A step (step.py) is one look at every batch of an output. It asks policy.py, which is pure, what to do, and does it.
The ledger beside the checkpoints says which call may have been made. So a step may die at any point: the next one looks
for what the provider has and creates no batch twice.

Promise: whatever the provider returns, each row ends as an answer, a failure, or a row that waits for the next wave.
Watch out: a step runs in a worker thread and blocks; the run's plan is read only when rows are needed, since it reads
the input; a torn ledger is an error, because it guards money that is spent already.
"""
