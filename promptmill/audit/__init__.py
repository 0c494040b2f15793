"""What an output cost, between two bounds that hold whatever happened: its answers, accounts and batches added up.

`records` reads what lies under `_checkpoints/`, `bounds` adds it up (pure), `table` says it to people and programs.
It knows no run and no provider: it is read from storage alone, so it can be asked for at any time and from anywhere.
"""
