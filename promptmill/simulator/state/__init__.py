"""Holds the simulator's state between two requests: options, ledger, files, batches, limits.

Every part gets `World`, which holds all of it.
Only the server's event loop uses it, so there are no locks: code in a thread must not touch it.
Tests compare a client's own accounts with `Ledger`; `reset` starts a new one and keeps the options.
"""
