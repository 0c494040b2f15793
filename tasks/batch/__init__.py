"""Batches as units of work in Prefect flows: submit, wait or advance a step, finish; and the same for registered jobs.

Promise: a job that fails keeps no other job from its turn, and a job stays registered until its output is published or
somebody has to act.
Watch out: everything in promptmill/batch blocks, so each call goes to a thread; another process may wait for the same
batches (`_attend`), and a step then only looks.
"""
