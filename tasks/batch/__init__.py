"""Runs batches in Prefect flows: submits, waits or advances a step, finishes; and does the same for registered jobs.

Promise: a job that fails doesn't block other jobs, and a job stays registered until its output is published or somebody
has to act.
Watch out: everything in promptmill/batch blocks, so each call goes to a thread. If another process waits for the same
batches (`_attend`), a step only looks.
"""
