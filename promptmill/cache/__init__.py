"""Answers that outputs share, so that a request is paid for once whatever output asks for it.

A cache is a folder of segments: Parquet files of answers, sorted by the digest of the request. Nobody changes a segment
after it is written. Many runs may read and write a cache at once: a run looks up its requests before it asks the provider,
and adds segments when it publishes. It copies each answer into its own checkpoints, so it doesn't need the cache again.
Promises: a run takes an answer only for the same request from the same provider, and only if the entry is undamaged. If a
cache is away or damaged, the run asks the provider instead.
Watch out: anybody who can write to a cache can answer for the model, in every output that reads it.
"""
