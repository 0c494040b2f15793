"""Serves one request online: admits or refuses it, answers, bills, and perhaps spoils the answer.

`inference` decides with a plain function and then delivers; it is a bare ASGI callable because the client benchmarks
run through it.
`faults` chooses what goes wrong with an attempt. The choice depends on the seed, the body and the attempt's number,
never on time, so a run meets the same faults every time.
"""
