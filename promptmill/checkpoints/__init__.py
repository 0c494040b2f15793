"""Keeps the answers and the records of money in `_checkpoints/` beside the output.

Promise: this room gives back a stored answer exactly as it was stored, only for its own row, or not at all. Every answer
file carries a digest of itself, and a chunk's file must hold that chunk's rows.
One rule holds for every state file, here and in the other rooms (promptmill/state_files.py). A missing file is no error. A
damaged file that can be made again is made again, with a warning (answers, a shard's plan and outcome, entries of the
registry, Prefect's records of chunks). A damaged file that guards money or a cancellation is an error that says how to go
on (spend.json, approved.json, the ledger's records and its _state.json). A storage that doesn't answer is StorageFailed.
Watch out: all calls block, so call them from a thread. A listing shows one moment; files may disappear after it.
"""
