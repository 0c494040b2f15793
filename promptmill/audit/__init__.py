"""Adds up what an output cost, from its answers, accounts and batches, and gives two bounds on the provider's bill.

`records` reads the files under `_checkpoints/`, `bounds` adds them up (pure), `table` shows the sums to people and
programs. The bounds hold after any number of kills and broken connections.
An audit reads storage alone and needs no run and no provider, so anybody can ask for one at any time.
"""
