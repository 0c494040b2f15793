"""What a user asks for: the job, and the identities that follow from it.

`spec.Job` is the one model behind the job file, the flows' parameter, the form in the Prefect UI and docs/job.md.
`file` reads a job from a URL or from plain values and reports every mistake in it at once.
`form` turns the model's JSON Schema into one that the Prefect UI shows well.
`key_order` gives the keys of JSON objects one order, whatever order they arrive in.
`identity` computes the digests by which stored answers are found again.

Watch out: a change to `identity` or `key_order` changes digests, and then users pay for every stored answer again.
"""
