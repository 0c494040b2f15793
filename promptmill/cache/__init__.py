"""Answers that outputs share, so that a request is paid for once whatever output asks for it.

A cache is a folder of segments: Parquet files of answers, sorted by the digest of the request, each written whole and never
changed. Any number of runs write and read it at once: a run adds segments when it publishes, and looks its requests up
before it asks. A run copies what it takes into its own checkpoints, so that it needs the cache no more afterwards.
Promises: an answer is taken for no other request, from no other provider and only if its entry is as it was written; a
cache that is away or damaged costs money but never a run.
Watch out: who may write to a cache can answer for the model, in every output that reads it.
"""
