"""A run from plan to output, without Prefect: the engine, the loop over chunks, progress, publishing.

run.py names the steps that flows, samples and notebooks share. engine.py holds what the chunks of a run share: one
client, one limiter, one budget. chunk.py answers the rows of a chunk and saves them as they come; chunk_sending.py sends them.

Promise: every row of the plan ends as an answer or as a failure, and what was answered is saved before the run ends, in
whatever way it ends.
Watch out: an engine lives on one event loop; a run is a value, so a step returns the run that follows from it; shards
and batches work elsewhere (`Elsewhere`) and aren't known here.
"""
