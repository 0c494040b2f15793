"""A run of 100 million rows, simulated on a virtual clock: see docs/scale.md.

The code that decides in a run decides here as well (limits, lessor, saver, split, batch policy); `measured.py` has every
number that isn't the code's own. Nothing here starts a server but `measure`, `server` and `publishing`.
"""
